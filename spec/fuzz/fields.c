/* Fields of headers: see fields.lua. */
#define FUZZ_SCRIPT "spec/fuzz/fields.lua"
#include "script.h"
