#include "writer.h"
#include "host/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum {
	READ_SIZE = 64 << 10,
	LONGEST = 1 << 20, /* of what is said by one call */
	TALKERS = 16,	   /* that say something long at the same time */
	RESTART_MS = 1000,
	TELL_MS = 1000, /* how often the log says that something was lost */
	STUCK_MS = 500, /* a reader that took nothing for so long is not waited for in the end */
	END_MOST_MS = 30000, /* nor one that goes on to read, for longer */
	ORPHAN_S = 2	     /* and by a writer whose supervisor is gone */
};

/* In the writer */

/* What came in parts, until the last one is there. */
struct talker {
	uint32_t pid;
	char *text;
	size_t len;
};

struct desk {
	const struct writer *own;
	struct output_counts *counts;
	struct talker talkers[TALKERS];
	bool is_terminal[3];
	bool is_told[3]; /* that it cannot be written */
};

static const char *name_of(enum output_stream stream)
{
	return stream == OUTPUT_OUT ? "standard output" : "standard error";
}

static void write_out(struct desk *desk, enum output_stream stream, const char *text, size_t len)
{
	char *plain = NULL;
	size_t size = 0;
	FILE *out = desk->is_terminal[stream] ? open_memstream(&plain, &size) : NULL;
	int ret;

	if (out) {
		text_put(out, text, len);
		fclose(out);
	}
	ret = plain ? output_write((int)stream, plain, size) : output_write((int)stream, text, len);
	free(plain);
	if (ret == 0)
		__atomic_fetch_add(&desk->counts->written, 1, __ATOMIC_RELAXED);
	else
		output_lost(desk->counts, stream, text, len);
	if (ret < 0 && !desk->is_told[stream])
		log_write(LOG_LEVEL_WARN, "%s cannot be written: %s", name_of(stream),
			  strerror(-ret));
	desk->is_told[stream] = ret < 0;
}

static struct talker *talker_of(struct desk *desk, uint32_t pid)
{
	struct talker *unused = NULL;

	for (struct talker *t = desk->talkers; t < desk->talkers + TALKERS; t++) {
		if (t->text && t->pid == pid)
			return t;
		if (!t->text)
			unused = t;
	}
	/* One that said the beginning of something, and died. */
	if (!unused) {
		unused = &desk->talkers[pid % TALKERS];
		free(unused->text);
	}
	*unused = (struct talker){.pid = pid};
	return unused;
}

static void take_part(struct desk *desk, const struct output_frame *frame, const char *bytes)
{
	struct talker *talker = talker_of(desk, frame->pid);
	char *text;

	if (frame->flags & OUTPUT_FIRST)
		talker->len = 0;
	else if (talker->len == 0)
		return;
	text = talker->len + frame->size <= LONGEST
		       ? realloc(talker->text, talker->len + frame->size)
		       : NULL;
	if (text) {
		memcpy(text + talker->len, bytes, frame->size);
		talker->text = text;
		talker->len += frame->size;
		if (!(frame->flags & OUTPUT_LAST))
			return;
		write_out(desk, frame->stream, text, talker->len);
	} else {
		output_lost(desk->counts, frame->stream, "", 0);
	}
	free(talker->text);
	*talker = (struct talker){0};
}

static bool is_sound(const struct desk *desk, const struct output_frame *frame)
{
	return frame->size <= OUTPUT_FRAME_MOST &&
	       (frame->stream == OUTPUT_OUT || frame->stream == OUTPUT_ERR) &&
	       desk->own->serves[frame->stream] && frame->flags <= (OUTPUT_FIRST | OUTPUT_LAST);
}

/* What is whole of the bytes; what is whole in one frame, and follows others of the same stream, is
 * written with them. Gives how many bytes it took. */
static size_t take(struct desk *desk, const char *bytes, size_t len)
{
	const unsigned int whole = OUTPUT_FIRST | OUTPUT_LAST;
	static char text[READ_SIZE];
	enum output_stream stream = OUTPUT_OUT;
	struct output_frame frame;
	size_t at = 0, size = 0;

	while (len - at >= sizeof(frame)) {
		memcpy(&frame, bytes + at, sizeof(frame));
		/* A worker that anybody may have taken over has written something else: it goes. */
		if (!is_sound(desk, &frame)) {
			output_lost(desk->counts, OUTPUT_ERR, "", 0);
			at = len;
			break;
		}
		if (len - at - sizeof(frame) < frame.size)
			break;
		if (size && (frame.stream != stream || (frame.flags & whole) != whole)) {
			write_out(desk, stream, text, size);
			size = 0;
		}
		if ((frame.flags & whole) == whole) {
			stream = frame.stream;
			memcpy(text + size, bytes + at + sizeof(frame), frame.size);
			size += frame.size;
		} else {
			take_part(desk, &frame, bytes + at + sizeof(frame));
		}
		at += sizeof(frame) + frame.size;
	}
	if (size)
		write_out(desk, stream, text, size);
	return at;
}

/* The supervisor asks it to end, which nobody else can: whatever is in the pipe was said before. */
static volatile sig_atomic_t is_to_end;
static pid_t supervisor;

static void on_end(int number, siginfo_t *info, void *context)
{
	(void)number;
	(void)context;
	if (info->si_pid == supervisor)
		is_to_end = 1;
}

/* A pipe, and what came of it and is not whole yet. */
struct inlet {
	int fd; /* -1: it has ended */
	size_t len;
	size_t left; /* bytes that are still to be taken */
	char bytes[READ_SIZE];
};

/* Until one of them has something. False: none will have. */
static bool wait_for(const struct inlet inlets[2])
{
	static const struct timespec at_once;
	struct pollfd fds[2] = {
		{.fd = inlets[0].fd, .events = POLLIN},
		{.fd = inlets[1].fd, .events = POLLIN},
	};
	sigset_t meanwhile;
	int ret;

	sigprocmask(SIG_BLOCK, NULL, &meanwhile);
	sigdelset(&meanwhile, SIGTERM);
	do
		ret = ppoll(fds, 2, is_to_end ? &at_once : NULL, &meanwhile);
	while (ret < 0 && errno == EINTR);
	return ret > 0;
}

/* What there is, without waiting: the pipe's own end does not. */
static void drain(struct desk *desk, struct inlet *inlet)
{
	size_t room = sizeof(inlet->bytes) - inlet->len, taken;
	ssize_t ret;

	if (inlet->fd < 0)
		return;
	ret = read(inlet->fd, inlet->bytes + inlet->len, room < inlet->left ? room : inlet->left);
	if (ret < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (ret <= 0) {
		inlet->fd = -1;
		return;
	}
	inlet->len += (size_t)ret;
	inlet->left -= (size_t)ret;
	taken = take(desk, inlet->bytes, inlet->len);
	inlet->len -= taken;
	memmove(inlet->bytes, inlet->bytes + taken, inlet->len);
}

/* In the end no more is taken than was there: a process that a worker has left may write on. */
static void take_the_rest(struct inlet *inlet)
{
	int left = 0;

	if (inlet->left != SIZE_MAX)
		return;
	(void)ioctl(inlet->fd, FIONREAD, &left);
	inlet->left = left > 0 ? (size_t)left : 0;
}

/* The workers' first: what the supervisor says follows what it has heard of them. */
static void serve(struct desk *desk, int shared, int own)
{
	static struct inlet inlets[2];

	inlets[0] = (struct inlet){.fd = shared, .left = SIZE_MAX};
	inlets[1] = (struct inlet){.fd = own, .left = SIZE_MAX};
	while (wait_for(inlets)) {
		for (int i = 0; i < 2; i++) {
			if (is_to_end)
				take_the_rest(&inlets[i]);
			drain(desk, &inlets[i]);
		}
		if (inlets[0].fd < 0 && inlets[1].fd < 0)
			return;
	}
}

/* The supervisor is gone, and nobody waits for the reader. */
static void on_orphaned(int number)
{
	signal(number, SIG_DFL);
	alarm(ORPHAN_S);
}

static void close_all_but(const int kept[], int count)
{
	int next = STDERR_FILENO + 1, last = STDERR_FILENO;

	for (int i = 0; i < count; i++)
		last = kept[i] > last ? kept[i] : last;
	/* Sockets are among them, which would keep their queues. */
	for (; next <= last; next++) {
		bool is_kept = false;

		for (int i = 0; i < count; i++)
			is_kept = is_kept || kept[i] == next;
		if (!is_kept)
			close(next);
	}
	closefrom(next);
}

/* Signals stay blocked: what they ask for is the supervisor's to do. */
static void run(const struct writers *writers, const struct writer *own, pid_t parent)
{
	struct sigaction action = {.sa_sigaction = on_end, .sa_flags = SA_SIGINFO};
	struct desk desk = {.own = own, .counts = writers->counts};
	int kept[] = {own->ends[0], own->shared[0], -1};

	prctl(PR_SET_NAME, "ipq-lua-output");
	supervisor = parent;
	sigaction(SIGTERM, &action, NULL);
	signal(SIGALRM, on_orphaned);
	if (prctl(PR_SET_PDEATHSIG, SIGALRM) < 0 || getppid() != parent)
		return;
	for (unsigned int i = 0; i < writers->count; i++)
		if (writers->of[i].serves[OUTPUT_ERR] && &writers->of[i] != own)
			kept[2] = writers->of[i].ends[1];
	close_all_but(kept, 3);
	for (enum output_stream stream = OUTPUT_OUT; stream <= OUTPUT_ERR; stream++) {
		desk.is_terminal[stream] = isatty((int)stream);
		if (own->serves[stream])
			output_restore(stream);
	}
	serve(&desk, own->shared[0], own->ends[0]);
}

/* In the supervisor */

static bool start(struct writers *writers, struct writer *writer)
{
	pid_t parent = getpid();

	writer->since = clock_ms();
	writer->pid = fork();
	if (writer->pid == 0) {
		run(writers, writer, parent);
		_exit(0);
	}
	if (writer->pid < 0)
		writer->pid = 0;
	return writer->pid != 0;
}

static bool are_same(int fd, int other)
{
	struct stat one, two;

	return fstat(fd, &one) == 0 && fstat(other, &two) == 0 && one.st_dev == two.st_dev &&
	       one.st_ino == two.st_ino;
}

static bool make_pipe(int ends[2])
{
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	/* Who may not have so much has 64 KiB. */
	(void)fcntl(ends[1], F_SETPIPE_SZ, (int)WRITER_KEEPS);
	return true;
}

static bool make(struct writers *writers, enum output_stream stream)
{
	struct writer *writer = &writers->of[writers->count++];

	*writer = (struct writer){.ends = {-1, -1}, .shared = {-1, -1}};
	writer->serves[stream] = true;
	return make_pipe(writer->ends) && make_pipe(writer->shared);
}

/* With a name, which tells it from the batches. */
static bool make_counts(struct writers *writers)
{
	const size_t size = sizeof(*writers->counts);
	int fd = memfd_create("output-counts", MFD_CLOEXEC);
	void *counts = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
		counts = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	writers->counts = counts == MAP_FAILED ? NULL : counts;
	return writers->counts != NULL;
}

static bool start_all(struct writers *writers)
{
	bool done = make(writers, OUTPUT_ERR);

	if (done && are_same(OUTPUT_OUT, OUTPUT_ERR))
		writers->of[0].serves[OUTPUT_OUT] = true;
	else
		done = done && make(writers, OUTPUT_OUT);
	/* The last first: it says what was lost to the one before. */
	for (unsigned int i = writers->count; done && i-- > 0;)
		done = start(writers, &writers->of[i]);
	return done;
}

static void close_all(struct writers *writers)
{
	for (unsigned int i = 0; i < writers->count; i++) {
		for (int end = 0; end < 2; end++) {
			close(writers->of[i].ends[end]);
			close(writers->of[i].shared[end]);
		}
	}
	writers->count = 0;
}

void writers_start(struct writers *writers)
{
	*writers = (struct writers){0};
	if (!make_counts(writers) || !start_all(writers)) {
		log_write(LOG_LEVEL_WARN,
			  "cannot start a process that writes the log, which a slow reader may "
			  "hold up: %s",
			  strerror(errno));
		writers_end(writers);
		return;
	}
	for (unsigned int i = 0; i < writers->count; i++)
		for (enum output_stream stream = OUTPUT_OUT; stream <= OUTPUT_ERR; stream++)
			if (writers->of[i].serves[stream])
				output_divert(stream, writers->of[i].ends[1], writers->counts);
}

/* How much was lost, where there is room to say so. */
static void tell_lost(struct writers *writers)
{
	struct pollfd room = {.fd = writers->of[0].ends[1], .events = POLLOUT};

	writers->told_at = clock_ms();
	if (poll(&room, 1, 0) <= 0)
		return;
	for (enum output_stream stream = OUTPUT_OUT; stream <= OUTPUT_ERR; stream++) {
		uint64_t lost = __atomic_load_n(&writers->counts->lost[stream], __ATOMIC_RELAXED);

		if (lost != writers->told[stream])
			log_write(LOG_LEVEL_WARN,
				  "%s: %" PRIu64 " lines were lost, as nobody read them in time",
				  name_of(stream), lost - writers->told[stream]);
		writers->told[stream] = lost;
	}
}

static void reap(struct writer *writer)
{
	if (writer->pid && waitpid(writer->pid, NULL, WNOHANG) == writer->pid)
		writer->pid = 0;
}

void writers_tend(struct writers *writers)
{
	for (unsigned int i = 0; i < writers->count; i++) {
		struct writer *writer = &writers->of[i];

		reap(writer);
		if (!writer->pid && clock_ms() - writer->since >= RESTART_MS)
			(void)start(writers, writer);
	}
	if (writers->counts && clock_ms() - writers->told_at >= TELL_MS)
		tell_lost(writers);
}

void writers_leave(struct writers *writers)
{
	for (unsigned int i = 0; i < writers->count; i++)
		for (enum output_stream stream = OUTPUT_OUT; stream <= OUTPUT_ERR; stream++)
			if (writers->of[i].serves[stream])
				output_detach(stream, writers->of[i].shared[1]);
	close_all(writers);
}

/* Until what was asked for is done, or the readers have not read for a while. */
struct patience {
	struct output_counts *counts;
	uint64_t written;
	int64_t since, begun;
};

static bool is_over(struct patience *patience)
{
	uint64_t written = __atomic_load_n(&patience->counts->written, __ATOMIC_RELAXED);

	if (written != patience->written || !patience->since)
		patience->since = clock_ms();
	patience->written = written;
	/* Workers may have written over what is counted. */
	return clock_ms() - patience->since >= STUCK_MS ||
	       clock_ms() - patience->begun >= END_MOST_MS;
}

static void end(struct writers *writers, struct writer *writer)
{
	struct patience patience = {.counts = writers->counts, .begun = clock_ms()};
	static const struct timespec moment = {.tv_nsec = 1000000};

	if (!writer->pid)
		(void)start(writers, writer);
	if (writer->pid)
		kill(writer->pid, SIGTERM);
	for (reap(writer); writer->pid && !is_over(&patience); reap(writer))
		nanosleep(&moment, NULL);
	if (!writer->pid)
		return;
	if (!writer->serves[OUTPUT_ERR])
		log_write(LOG_LEVEL_WARN,
			  "%s: its reader has stopped; what it has not read is lost",
			  name_of(OUTPUT_OUT));
	kill(writer->pid, SIGKILL);
	(void)waitpid(writer->pid, NULL, 0);
}

void writers_end(struct writers *writers)
{
	/* The last first: it says what was lost to the one before. */
	for (unsigned int i = writers->count; i-- > 0;) {
		tell_lost(writers);
		end(writers, &writers->of[i]);
	}
	close_all(writers);
	output_restore(OUTPUT_OUT);
	output_restore(OUTPUT_ERR);
	if (writers->counts)
		munmap(writers->counts, sizeof(*writers->counts));
	writers->counts = NULL;
}
