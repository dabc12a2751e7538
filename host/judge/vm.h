/* The Lua state of a worker, with one script in it. */
#ifndef HOST_VM_H
#define HOST_VM_H

#include <stdbool.h>
#include <sys/types.h>

#include <lua.h>

#include "host/base/options.h"
#include "host/base/output.h"
#include "lib/queue/queue.h"

struct vm;

enum vm_result {
	VM_OK,
	VM_NO_FILE, /* the script cannot be read */
	VM_BAD	    /* the script is no filter, or a function of its raised */
};

/* Makes a state. NULL with a message where that cannot be. */
struct vm *vm_new(void);
void vm_free(struct vm *vm);

/* In the place of a queue's number: there is none. */
enum { VM_NO_QUEUE = -1 };

/* Loads the script of the options. What is wrong is logged. queue_num is the queue that the script
 * is told to be for: one of the options', or VM_NO_QUEUE. counters are the script's,
 * IPQ_SCRIPT_COUNTERS_MAX of them, which may have something in them already, and inherited what
 * they begin with, or NULL; both outlive the state. */
enum vm_result vm_load(struct vm *vm, const struct options *options, int queue_num,
		       struct ipq_counter *counters, struct ipq_counter *inherited);

/* Has the tables that scripts share be in that memory, size bytes that outlive the state; worker is the
 * process's number among all that have it. NULL: in memory of the process's own, of that size. To be called
 * before vm_load(). False with a message where that cannot be. */
bool vm_share(struct vm *vm, uint8_t *memory, size_t size, uint32_t worker);

/* Logs what is suspicious in the script, which can be used: globals that nobody defines. */
void vm_inspect(struct vm *vm);

/* Sets copy_mode and copy_range where the script says what it needs. */
void vm_queue_options(struct vm *vm, struct ipq_queue_options *options);

/* Whether the script asks for the ARP of a capture. */
bool vm_takes_arp(struct vm *vm);

/* Whether it sends packets of its own; and whether those come to its filter when they come back. */
bool vm_sends(struct vm *vm);
bool vm_takes_sent(struct vm *vm);

/* Whether it edits connections. */
bool vm_edits(struct vm *vm);

/* Whether what it writes of a capture must tell nothing of the one that came. */
bool vm_is_private(struct vm *vm);

/* What standard output gets of each packet that was judged, a line or nothing: see
 * bindings/core_calls.h. */
enum vm_record { VM_RECORD_NONE, VM_RECORD_JSON, VM_RECORD_PRINT };

/* From here on the time is the packets' own, and each one that was judged is recorded so. The
 * script's events go to the stream. False with a message where there is no memory. */
bool vm_replay(struct vm *vm, enum vm_record record, enum output_stream events);

/* Its Lua state, which stays its own. */
lua_State *vm_state(struct vm *vm);

/* Whether the script has a start(). */
bool vm_has_start(struct vm *vm);

/* Calls the script's start(), and prepares vm_run() for this driver, which must outlive the state.
 */
enum vm_result vm_start(struct vm *vm, struct ipq_driver *driver);

/* Calls the script's save(), and writes what it returns (bindings/value.h). Gives the length; 0
 * where there is nothing to save; -1 with a message where that cannot be saved. */
ssize_t vm_save(struct vm *vm, uint8_t *to, size_t size);

/* Calls the script's restore() with what another process' vm_save() wrote there, which may be
 * anything. */
enum vm_result vm_restore(struct vm *vm, const uint8_t *from, size_t len);

/* Memory that outlives the state; NULL: there is none. */
struct vm_memory {
	uint8_t *memory;
	size_t size;
};

/* Follows flows and reads streams in such memory from here on, if the script asks for it. False with a message
 * where that cannot be. */
bool vm_follow(struct vm *vm, const struct vm_memory *flows, const struct vm_memory *streams);

/* Tells the log how many flows there may be, and what memory they take then, where any are followed. */
void vm_tell_flows(struct vm *vm);

/* Another process has that memory from here on. */
void vm_unfollow(struct vm *vm);

/* The process enters the sandbox. False with a message where the state cannot. */
bool vm_confine(struct vm *vm);

/* The filter over all packets of the driver, until ipq_driver_next() gives something else: that is
 * the result. -ENOTRECOVERABLE after an error that no filter can cause: then the batch's packets
 * from current on were not judged. */
int vm_run(struct vm *vm);

/* Calls the script's stop() with the reason, "reload" or "exit", and gives the default verdict to
 * what is still held. ends_flows: before that it is told of each flow, because nobody follows them any
 * more. The driver's source has not been closed yet. */
enum vm_result vm_stop(struct vm *vm, const char *reason, bool ends_flows);

/* The files that the script was made from: its own, and what it has required. Calls each() with
 * their paths. */
void vm_files(struct vm *vm, void (*each)(void *data, const char *path), void *data);

/* For a signal handler: the packet whose filter runs takes too long. Raises in the filter, if Lua
 * is interpreted there; compiled code cannot be interrupted. */
void vm_overtime(void *vm);

/* Lua states with the program's modules in them (vm_state.c), for those that run Lua without a
 * script. */

/* Makes a state in which require "ipq" works without a file. NULL with a message where there is no
 * memory for it. Caller closes it with lua_close(). */
lua_State *vm_state_new(void);

/* Calls function with data as a light userdata. An error that reaches here is no script's fault,
 * but memory, or the program's own: it is logged, and gives false. */
bool vm_protect(lua_State *L, lua_CFunction function, void *data);

/* Tells the module what it says of the program: the bits of marks, the queue's number or VM_NO_QUEUE,
 * and which of the workers this is. May raise. */
void vm_describe(lua_State *L, const struct options *options, int queue_num);

/* Where the lines of ipq.event() go: standard output, until another stream is named. May raise. */
void vm_events_to(lua_State *L, enum output_stream stream);

/* Pushes a module of the program's own. May raise. */
void vm_push_module(lua_State *L, const char *name);

/* Pushes module[name] of such a module. May raise. */
void vm_push_member(lua_State *L, const char *module, const char *name);

/* Has what the sandbox (sandbox.h, landlock.h) stops say so, which the C library would not:
 * os.execute(), io.popen(), and what writes files. May raise. */
void vm_state_confine(lua_State *L);

#endif
