/*
 * What the objects of the C module "ipq.core" have in common: a source of packets, and the driver
 * that goes round with it.
 *
 * An object is a userdata that begins with a struct ipq_object. It is open while of is not NULL.
 * Closing ends the source, and leaves the driver with one that has ended: a filter that runs may
 * close its own queue. The batch lasts as long as the object.
 */
#ifndef IPQ_CORE_OBJECT_H
#define IPQ_CORE_OBJECT_H

#include <stdbool.h>
#include <lauxlib.h>

#include "lib/queue/queue.h"

struct ipq_object {
	void *of; /* what was opened; NULL once closed, and until it is opened */
	struct ipq_driver driver;
};

/* Makes the class of that name, "ipq.core.NAME": a metatable out of a script's reach. methods and
 * gc have the name as their upvalue. */
void ipq_object_class(lua_State *L, const char *name, const luaL_Reg *methods, lua_CFunction gc);

/* Pushes a new object of the class, size bytes long, all 0 behind its struct ipq_object. It has no
 * batch, and its source has ended. */
void *ipq_object_new(lua_State *L, const char *name, size_t size);

/* The object at index 1. Raises where that is none of the class, and where it is closed ("queue is
 * closed"). */
void *ipq_object_check(lua_State *L, const char *name);

/* For the methods and gc of a class.
 *   object:driver() → its driver's address, for FFI; good as long as the object is referred to
 *   object:close()    a second time does nothing */
int ipq_object_driver(lua_State *L);
int ipq_object_close(lua_State *L);
int ipq_object_gc(lua_State *L);

/* Pushes nil, message, code; gives 3. */
int ipq_object_fail(lua_State *L, const char *message, const char *code);

/* Fields of the options table at index 1, and what stands for one that is nil. They raise where a
 * value is of another type or out of range: a message without a position. */
lua_Number ipq_option_number(lua_State *L, const char *name, lua_Number otherwise, lua_Number max);
bool ipq_option_bool(lua_State *L, const char *name, bool otherwise);
/* default and on_error: the batch's verdicts. Those that reject need the option send. */
void ipq_option_verdicts(lua_State *L, struct ipq_batch *batch);
/* NULL where it is nil. The table keeps it. */
const char *ipq_option_string(lua_State *L, const char *name);
/* copy: "packet" or "meta". */
bool ipq_option_is_meta(lua_State *L);

/* The objects' constructors, and what makes their classes. */
int ipq_core_open(lua_State *L);
void ipq_core_queue_class(lua_State *L);
int ipq_core_capture(lua_State *L);
void ipq_core_capture_class(lua_State *L);
/* Pushes json(value, convert, ending) (core_json.c). */
void ipq_core_json_push(lua_State *L);

int ipq_core_memory(lua_State *L);
void ipq_core_memory_class(lua_State *L);

#endif
