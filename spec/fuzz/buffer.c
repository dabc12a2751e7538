/* Buffers: see buffer.lua. */
#define FUZZ_SCRIPT "spec/fuzz/buffer.lua"
#include "script.h"
