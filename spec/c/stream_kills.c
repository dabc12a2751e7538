/* A process that edits streams in shared memory and is killed at any instruction, again and again. What it has let out it
 * notes in other shared memory: a successor has to make the same of it, or say that it is lost. */
#include "lib/stream/stream.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum {
	STREAMS = 6,
	BYTES = 1 << 16, /* of the output that a note has */
	AHEAD = 40000,	 /* of them that may be unacknowledged */
	MARKS = 64,
	TEXT_MOST = 400
};

struct spec_stream_kills {
	uint32_t kills;
	uint32_t checked; /* streams that were looked at afterwards */
	uint32_t ahead;	  /* of them, those that had edits that were not let out */
	uint32_t lost;
	uint32_t unsound; /* line of what did not hold; 0 */
};

/* Declared here, for LuaJIT alone calls it. */
int spec_streams_kill(struct spec_stream_kills *kills, uint32_t count, uint64_t seed);

/* Where a segment ended that was let out: its original position, and its output's. */
struct mark {
	uint64_t at;
	uint64_t out;
};

struct note {
	uint32_t is_live;
	uint32_t marks_made; /* the last one is what was let out last */
	struct mark marks[MARKS];
	uint8_t bytes[BYTES];
};

struct notes {
	uint32_t steps;
	struct note of[STREAMS];
};

struct worker {
	struct ipq_streams streams;
	void *memory;
	size_t size;
	struct notes *notes; /* shared */
	struct ipq_stream *stream[STREAMS];
	uint64_t random;
	uint8_t said[TEXT_MOST];
};

static uint32_t random_of(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (uint32_t)(*random >> 16);
}

static void order(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static struct mark last_of(const struct note *note)
{
	return note->marks[(note->marks_made - 1) % MARKS];
}

static uint8_t said(uint64_t at)
{
	return (uint8_t)(at * 7 + at / 256);
}

/* The output from one position to another, by a segment that begins at at. */
static void render(const struct worker *w, const struct ipq_stream_half *half, uint64_t at,
		   uint64_t end, uint64_t from, uint64_t to, uint8_t *output)
{
	static uint8_t bytes[BYTES];

	for (uint64_t i = at; i < end; i++)
		bytes[i - at] = said(i);
	ipq_stream_render(&w->streams, half, at, bytes, (uint32_t)(end - at), from, to, output);
}

/* All that is decided goes out. What was inserted behind it waits for the next byte. */
static void let_out(struct worker *w, struct note *note, struct ipq_stream_half *half)
{
	static uint8_t output[BYTES];
	struct mark last = last_of(note), mark = {half->done, 0};

	mark.out = ipq_stream_output(&w->streams, half, mark.at);
	half->seen = mark.at;
	half->sent = mark.out;
	render(w, half, last.at, mark.at, last.out, mark.out, output);
	for (uint64_t i = last.out; i < mark.out; i++)
		note->bytes[i % BYTES] = output[i - last.out];
	note->marks[note->marks_made % MARKS] = mark;
	order();
	note->marks_made++;
	order();
}

static void begin(struct worker *w, uint32_t i)
{
	struct note *note = &w->notes->of[i];
	struct ipq_stream *stream;

	note->is_live = 0;
	order();
	if (w->stream[i])
		ipq_stream_free(&w->streams, w->stream[i]);
	stream = w->stream[i] = ipq_stream_new(&w->streams);
	if (!stream)
		abort();
	stream->flow = i;
	stream->half[0].fin = stream->half[1].fin = UINT64_C(1) << 62;
	order();
	stream->state = IPQ_STREAM_ESTABLISHED;
	memset(note->marks, 0, sizeof(note->marks));
	note->marks_made = 1;
	order();
	note->is_live = 1;
}

static void acknowledge(struct worker *w, uint32_t i, uint32_t n)
{
	struct ipq_stream_half *half = &w->stream[i]->half[0];

	ipq_stream_acknowledge(&w->streams, half, half->acked + n % (half->sent - half->acked + 1));
}

static void step(struct worker *w)
{
	uint32_t i = random_of(&w->random) % STREAMS, what = random_of(&w->random) % 64;
	uint32_t n = random_of(&w->random);
	struct ipq_stream_half *half = &w->stream[i]->half[0];

	for (uint32_t j = 0; j < TEXT_MOST; j++)
		w->said[j] = (uint8_t)(n + j);
	if (what == 0) {
		begin(w, i);
	} else if (what < 20) {
		half->done += n % 40;
		let_out(w, &w->notes->of[i], half);
	} else if (what < 44) {
		(void)ipq_stream_edit(&w->streams, half, what & 1 ? n / 7 % 30 : 0, w->said,
				      what & 2 ? n % 16 : n % TEXT_MOST);
		if (what & 4)
			let_out(w, &w->notes->of[i], half);
	} else if (half->sent - half->acked > AHEAD) {
		ipq_stream_acknowledge(&w->streams, half, half->sent);
	} else {
		acknowledge(w, i, what & 1 ? n : n % 300);
	}
	if (half->sent - half->acked > AHEAD)
		ipq_stream_acknowledge(&w->streams, half, half->sent);
}

static void work(struct worker *w)
{
	for (;;) {
		__atomic_add_fetch(&w->notes->steps, 1, __ATOMIC_RELAXED);
		step(w);
	}
}

/* Forks a worker and kills it after so many steps, somewhere in the next ones. */
static int kill_one(struct worker *w, uint32_t steps)
{
	pid_t pid;

	__atomic_store_n(&w->notes->steps, 0, __ATOMIC_RELAXED);
	pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0)
		work(w);
	while (__atomic_load_n(&w->notes->steps, __ATOMIC_RELAXED) < steps)
		sched_yield();
	for (volatile uint32_t i = random_of(&w->random) % 4096; i > 0; i--)
		;
	if (kill(pid, SIGKILL) != 0 || waitpid(pid, NULL, 0) != pid)
		return -1;
	w->random += w->notes->steps;
	return 0;
}

#define HOLDS(condition)                 \
	do {                             \
		if (!(condition))        \
			return __LINE__; \
	} while (0)

/* What was let out is as it was: where each segment ended, and the bytes between. */
static uint32_t check(const struct worker *w, const struct note *note, struct ipq_stream_half *half)
{
	static uint8_t output[BYTES];
	struct mark last = last_of(note), before = {half->una, half->acked};
	uint32_t first = note->marks_made > MARKS ? note->marks_made - MARKS : 0;

	HOLDS(half->una <= last.at && half->acked <= last.out && half->sent >= last.out);
	HOLDS(ipq_stream_output(&w->streams, half, half->una) <= half->acked);
	for (uint32_t i = first; i < note->marks_made; i++) {
		struct mark mark = note->marks[i % MARKS];
		uint64_t out = ipq_stream_output(&w->streams, half, mark.at);

		if (mark.at <= half->una)
			continue;
		HOLDS(out == mark.out);
		/* It was killed between the two numbers of an acknowledgement. */
		if (out <= before.out)
			continue;
		render(w, half, before.at, mark.at, before.out, out, output);
		for (uint64_t p = before.out; p < out; p++)
			HOLDS(output[p - before.out] == note->bytes[p % BYTES]);
		before = mark;
	}
	for (uint64_t at = half->una; at < last.at; at++)
		HOLDS(ipq_stream_output(&w->streams, half, at) <=
		      ipq_stream_output(&w->streams, half, at + 1));
	return 0;
}

/* The next worker goes on behind all that stands there. */
static void resume(struct worker *w, struct note *note, struct ipq_stream_half *half,
		   bool *is_ahead)
{
	struct mark last = last_of(note);

	half->done = last.at;
	/* No edit ahead is longer than some removals in a row. */
	for (uint64_t at = last.at + 1; at < last.at + 4096; at++)
		if (ipq_stream_output(&w->streams, half, at) !=
		    ipq_stream_output(&w->streams, half, at - 1) + 1)
			half->done = at;
	*is_ahead = half->done != last.at;
	let_out(w, note, half);
}

static void look(struct worker *w, struct spec_stream_kills *kills)
{
	struct ipq_stream *found[STREAMS] = {NULL};
	bool is_ahead = false;

	for (uint32_t i = 0; i < w->streams.connections; i++) {
		struct ipq_stream *stream = &w->streams.records[i];

		if (stream->state == IPQ_STREAM_NONE)
			continue;
		if (stream->state == IPQ_STREAM_LOST || stream->flow >= STREAMS ||
		    found[stream->flow] || !w->notes->of[stream->flow].is_live) {
			kills->lost += stream->state == IPQ_STREAM_LOST;
			ipq_stream_free(&w->streams, stream);
			continue;
		}
		found[stream->flow] = stream;
	}
	for (uint32_t i = 0; i < STREAMS; i++) {
		struct note *note = &w->notes->of[i];

		w->stream[i] = found[i];
		if (!found[i]) {
			begin(w, i);
			continue;
		}
		kills->checked++;
		kills->unsound = check(w, note, &found[i]->half[0]);
		if (kills->unsound)
			return;
		resume(w, note, &found[i]->half[0], &is_ahead);
		kills->ahead += is_ahead;
	}
}

static int kill_all(struct worker *w, struct spec_stream_kills *kills, uint32_t count)
{
	for (; kills->kills < count && !kills->unsound; kills->kills++) {
		if (kill_one(w, 1 + random_of(&w->random) % 300) != 0)
			return -1;
		ipq_streams_detach(&w->streams);
		if (ipq_streams_attach(w->memory, w->size, NULL, &w->streams) < 0)
			return -1;
		look(w, kills);
	}
	return 0;
}

int spec_streams_kill(struct spec_stream_kills *kills, uint32_t count, uint64_t seed)
{
	size_t size = ipq_streams_size(STREAMS * 100);
	struct worker *w = calloc(1, sizeof(*w));
	int ret = -1;

	memset(kills, 0, sizeof(*kills));
	w->size = size;
	w->random = seed;
	w->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	w->notes = mmap(NULL, sizeof(*w->notes), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (w->memory == MAP_FAILED || w->notes == MAP_FAILED)
		abort();
	if (ipq_streams_init(w->memory, size, STREAMS * 100) == 0 &&
	    ipq_streams_attach(w->memory, size, NULL, &w->streams) == 0) {
		for (uint32_t i = 0; i < STREAMS; i++)
			begin(w, i);
		ret = kill_all(w, kills, count);
		ipq_streams_detach(&w->streams);
	}
	munmap(w->notes, sizeof(*w->notes));
	munmap(w->memory, size);
	free(w);
	return ret;
}
