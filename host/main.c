/* ipq-lua: a Lua script judges the packets that Netfilter queues. */
#include "host/base/base.h"
#include "host/figures/figures.h"
#include "host/judge/judge.h"
#include "host/rules/rules.h"
#include "host/supervise/supervise.h"
#include "host/tools/tools.h"

#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

/* A message must not go to a socket that has the number of a stream which was closed. */
static void streams_open(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static int check_user(const char *text)
{
	struct privileges_user user;
	int ret = privileges_find(&user, text);

	return ret < 0 ? report_no_user(text, ret) : EX_OK;
}

static int run(const struct options *options)
{
	struct ipq_counter counters[IPQ_SCRIPT_COUNTERS_MAX] = {{.value = 0}};
	struct vm *vm;
	int code;

	if (options->new_name)
		return new_write(options->new_name);
	if (options->top)
		return top_run(options->top_pid);
	if (options->ctl)
		return ctl_run(options);
	if (options->test)
		return test_run(options);

	if (options->doctor)
		return doctor_run(options);
	if (options->print_rules)
		return rules_print(options);
	if (options->remove_rules)
		return rules_remove_left(options);
	if (!options->check && !options->capture.read)
		return supervisor_run(options);
	/* What a program that takes over would stumble on. */
	code = options->user ? check_user(options->user) : EX_OK;
	if (code != EX_OK)
		return code;
	vm = vm_new();
	if (!vm)
		return EX_OSERR;
	exit_guard(options->script);
	if (!vm_share(vm, NULL, (size_t)options->shared_memory_mb << 20, 0))
		return EX_OSERR;
	/* What is checked is told what the first worker is told. */
	code = session_exit_code(vm_load(vm, options,
					 options->check ? options->queue.queue_num : VM_NO_QUEUE,
					 counters, NULL));
	exit_release();
	if (code == EX_OK)
		code = sender_check(options, vm);
	if (code == EX_OK && options->check) {
		vm_inspect(vm);
		log_write(LOG_LEVEL_INFO, "%s: can be used%s", options->script,
			  vm_has_start(vm) ? "; its start(), which may do anything, was not called"
					   : "");
	} else if (code == EX_OK)
		code = replay_run(options, vm, counters);
	vm_free(vm);
	return code;
}

int main(int argc, char **argv)
{
	struct options options;

	streams_open();
	upgrade_remember(argv);
	switch (options_parse(&options, argc, argv)) {
	case OPTIONS_RUN:
		/* What a replay says to a script is on standard output. */
		log_set_up(options.log_level, options.json && !options.capture.read);
		return output_end(run(&options));
	case OPTIONS_DONE: return output_end(EX_OK);
	default: return EX_USAGE;
	}
}
