/*
 * A list of what is allowed, as nobody can list what a kernel to come will have. It has what
 * LuaJIT, the C library and this program call, and what Lua's own library does with files. What is
 * left out is an error, not a signal, so that a script is told: nobody gets further by asking
 * twice. Only calls by another architecture's convention kill, as their numbers say nothing here.
 */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>
#include <asm/termbits.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#define CALL	     SCMP_SYS
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Whatever their arguments are. */
static const int calls[] = {
	/* The queue, the supervisor, and sockets that start() has connected. */
	CALL(recvmmsg), CALL(sendmsg), CALL(sendmmsg), CALL(recvmsg), CALL(recvfrom), CALL(sendto),
	CALL(shutdown), CALL(getsockopt), CALL(getsockname), CALL(getpeername), CALL(poll),
	CALL(ppoll), CALL(select), CALL(pselect6),
	/* Memory; executable too, as traces are machine code. */
	CALL(mmap), CALL(munmap), CALL(mremap), CALL(mprotect), CALL(madvise), CALL(brk),
	CALL(futex),
	/* Files: the script's lists and logs. No change of owners and modes, no links, no devices.
	 */
	CALL(read), CALL(write), CALL(readv), CALL(writev), CALL(pread64), CALL(pwrite64),
	CALL(close), CALL(lseek), CALL(dup), CALL(dup2), CALL(dup3), CALL(pipe), CALL(pipe2),
	CALL(stat), CALL(lstat), CALL(fstat), CALL(newfstatat), CALL(statx), CALL(access),
	CALL(faccessat), CALL(faccessat2), CALL(readlink), CALL(readlinkat), CALL(getdents64),
	CALL(getcwd), CALL(fsync), CALL(fdatasync), CALL(ftruncate), CALL(rename), CALL(renameat),
	CALL(renameat2), CALL(unlink), CALL(unlinkat), CALL(mkdir), CALL(mkdirat), CALL(rmdir),
	/* Time, and timers that are there already. */
	CALL(clock_gettime), CALL(clock_getres), CALL(gettimeofday), CALL(time), CALL(nanosleep),
	CALL(clock_nanosleep), CALL(timer_settime), CALL(timer_gettime), CALL(timer_getoverrun),
	CALL(timer_delete),
	/* Questions about the process and the system. */
	CALL(getpid), CALL(getppid), CALL(gettid), CALL(getuid), CALL(geteuid), CALL(getgid),
	CALL(getegid), CALL(getrlimit), CALL(getrusage), CALL(times), CALL(sysinfo), CALL(uname),
	CALL(getrandom), CALL(getcpu), CALL(sched_getaffinity), CALL(sched_yield),
	/* Signals, waiting for programs that start() has started, the end. */
	CALL(rt_sigaction), CALL(rt_sigprocmask), CALL(rt_sigreturn), CALL(sigaltstack),
	CALL(restart_syscall), CALL(wait4), CALL(waitid), CALL(exit), CALL(exit_group)};

/* With this value in that argument alone. */
static const struct condition {
	int call;
	unsigned int argument;
	uint32_t value;
} conditions[] = {
	/* What interfaces are called, and whether a file is a terminal. Others change interfaces,
	 * which CAP_NET_ADMIN would allow, or type into the terminal. */
	{CALL(ioctl), 1, SIOCGIFNAME},
	{CALL(ioctl), 1, SIOCGIFINDEX},
	{CALL(ioctl), 1, SIOCGIFHWADDR},
	{CALL(ioctl), 1, SIOCGIFMTU},
	{CALL(ioctl), 1, TCGETS},
	{CALL(ioctl), 1, TCGETS2},
	{CALL(ioctl), 1, TIOCGWINSZ},
	{CALL(ioctl), 1, FIONREAD},
	/* Others have the kernel send signals to processes. */
	{CALL(fcntl), 1, F_DUPFD},
	{CALL(fcntl), 1, F_DUPFD_CLOEXEC},
	{CALL(fcntl), 1, F_GETFD},
	{CALL(fcntl), 1, F_SETFD},
	{CALL(fcntl), 1, F_GETFL},
	{CALL(fcntl), 1, F_GETLK},
	{CALL(fcntl), 1, F_SETLK},
	{CALL(fcntl), 1, F_SETLKW},
	/* Others let it outlive its supervisor, among much else. */
	{CALL(prctl), 0, PR_SET_NAME},
	{CALL(prctl), 0, PR_GET_NAME},
	/* Its own: those of other processes have a number there. */
	{CALL(prlimit64), 0, 0},
};

/* Whose first argument is a process: this one. abort() and raise() are such. */
static const int own_process[] = {CALL(kill), CALL(tgkill)};

/* The kernel takes 32 bits of it, whatever the others are. */
static int allow_if(scmp_filter_ctx filter, int call, unsigned int argument, uint32_t value)
{
	struct scmp_arg_cmp is_value =
		SCMP_CMP64(argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint64_t)value);

	return seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, 1, &is_value);
}

/* O_NONBLOCK and the like. With O_ASYNC a terminal's next key is a signal to all of its foreground's
 * processes. */
static int allow_flags(scmp_filter_ctx filter)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(fcntl), 2,
				SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, F_SETFL),
				SCMP_A2_64(SCMP_CMP_MASKED_EQ, O_ASYNC, 0));
}

static int allow_files(scmp_filter_ctx filter, bool may_truncate)
{
	static const int truncating[] = {CALL(open), CALL(openat), CALL(creat), CALL(truncate)};
	const struct scmp_arg_cmp open_keeps = SCMP_A1_64(SCMP_CMP_MASKED_EQ, O_TRUNC, 0);
	const struct scmp_arg_cmp openat_keeps = SCMP_A2_64(SCMP_CMP_MASKED_EQ, O_TRUNC, 0);
	int ret = 0;

	for (size_t i = 0; may_truncate && i < COUNT(truncating) && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, truncating[i], 0);
	if (!may_truncate)
		ret = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, CALL(open), 1, &open_keeps);
	if (!may_truncate && ret == 0)
		ret = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, CALL(openat), 1,
					     &openat_keeps);
	return ret;
}

static int allow_probe(scmp_filter_ctx filter, uint32_t probe)
{
	int ret = allow_if(filter, CALL(connect), 0, probe);

	if (ret < 0)
		return ret;
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, CALL(setsockopt), 3,
				SCMP_A0_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, probe),
				SCMP_A1_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, SOL_SOCKET),
				SCMP_A2_64(SCMP_CMP_MASKED_EQ, UINT32_MAX, SO_MARK));
}

/* By these descriptors' numbers: what the kernel says of a way it says of a connected socket, and the mark
 * chooses the way. */
static int allow_probes(scmp_filter_ctx filter, const int *probes)
{
	int ret = 0;

	for (size_t i = 0; probes && i < SANDBOX_PROBES && ret == 0; i++)
		if (probes[i] >= 0)
			ret = allow_probe(filter, (uint32_t)probes[i]);
	return ret;
}

static int allow_all(scmp_filter_ctx filter, bool may_truncate, const int *probes)
{
	int ret = allow_probes(filter, probes);

	for (size_t i = 0; i < COUNT(calls) && ret == 0; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
	for (size_t i = 0; i < COUNT(conditions) && ret == 0; i++)
		ret = allow_if(filter, conditions[i].call, conditions[i].argument,
			       conditions[i].value);
	for (size_t i = 0; i < COUNT(own_process) && ret == 0; i++)
		ret = allow_if(filter, own_process[i], 0, (uint32_t)getpid());
	if (ret == 0)
		ret = allow_files(filter, may_truncate);
	return ret == 0 ? allow_flags(filter) : ret;
}

static int set_up(scmp_filter_ctx filter)
{
	/* A search tree: kernels before 5.11 run the filter for every call. */
	int ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);

	/* Those before 5.16 slow a filtered process down, against code in it that reads what it
	 * should not by speculation; this one keeps nothing from itself. Those before 4.17 have no
	 * such choice. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	/* A thread that the script has started must not be a way out. */
	if (ret == 0)
		ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	return ret;
}

int sandbox_enter(bool may_truncate, const int *probes)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int ret;

	if (!filter)
		return -ENOMEM;
	ret = set_up(filter);
	if (ret == 0)
		ret = allow_all(filter, may_truncate, probes);
	if (ret == 0)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret;
}
