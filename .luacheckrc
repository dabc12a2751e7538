std = "luajit"
max_line_length = 120
-- A script's arguments: the program sets them.
files["scripts/*.lua"] = { std = "+luajit" }
files["spec/**/*_spec.lua"] = { std = "+busted" }
files["scripts/template/*_spec.lua"] = { std = "+busted" }
-- Declarations for editors, not code.
exclude_files = { "bindings/types" }
