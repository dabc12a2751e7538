-- busted's helper that has Lua in the specs' own process be as IPQ_MACHINE says, a text of Lua: see make test-lua.
assert(loadstring(os.getenv "IPQ_MACHINE"))()
