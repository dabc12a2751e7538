/* Packets from tables of fields: see build.lua. */
#define FUZZ_SCRIPT "spec/fuzz/build.lua"
#include "script.h"
