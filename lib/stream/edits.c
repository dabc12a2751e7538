/* The model: what a receiver gets instead of what its sender says. */
#include "table.h"

#include <errno.h>

/* The chunk that has a ring's ith place, by the numbers of chunks in a list of its own. */
static uint32_t *chunk_of(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			  uint32_t place)
{
	uint32_t number = place / CHUNK_EDITS;
	union ipq_stream_chunk *list =
		ipq_stream_chunk(streams, half->ring[number / CHUNK_NUMBERS]);

	return list ? &list->numbers[number % CHUNK_NUMBERS] : NULL;
}

struct ipq_stream_edit *ipq_stream_edit_at(const struct ipq_streams *streams,
					   const struct ipq_stream_half *half, uint32_t i)
{
	uint32_t place = ipq_stream_place(half, i);
	uint32_t *number = chunk_of(streams, half, place);
	union ipq_stream_chunk *chunk = number ? ipq_stream_chunk(streams, *number) : NULL;

	return chunk ? &chunk->edits[place % CHUNK_EDITS] : NULL;
}

/* Positions are compared by their distance. */
static bool before(uint64_t a, uint64_t b)
{
	return (int64_t)(a - b) < 0;
}

static uint64_t end_of(const struct ipq_stream_edit *edit)
{
	return edit->at + edit->removed;
}

static uint64_t output_end_of(const struct ipq_stream_edit *edit)
{
	return edit->out + edit->added;
}

static bool is_at_before(const struct ipq_stream_edit *edit, uint64_t at)
{
	return before(edit->at, at);
}

static bool is_end_not_behind(const struct ipq_stream_edit *edit, uint64_t out)
{
	return !before(out, output_end_of(edit));
}

static bool is_end_before(const struct ipq_stream_edit *edit, uint64_t out)
{
	return before(output_end_of(edit), out);
}

/* How many edits, which are the first ones, have that property. */
static uint32_t search(const struct ipq_streams *streams, const struct ipq_stream_half *half,
		       bool (*is)(const struct ipq_stream_edit *edit, uint64_t value),
		       uint64_t value)
{
	uint32_t least = 0, most = ipq_stream_count(half);

	while (least < most) {
		uint32_t middle = least + (most - least) / 2;
		const struct ipq_stream_edit *edit = ipq_stream_edit_at(streams, half, middle);

		if (edit && is(edit, value))
			least = middle + 1;
		else
			most = middle;
	}
	return least;
}

/* The last of so many first edits; NULL: there is none. */
static const struct ipq_stream_edit *last_of(const struct ipq_streams *streams,
					     const struct ipq_stream_half *half, uint32_t n)
{
	return n ? ipq_stream_edit_at(streams, half, n - 1) : NULL;
}

/* The edit behind so many first ones; NULL: there is none. */
static const struct ipq_stream_edit *next_of(const struct ipq_streams *streams,
					     const struct ipq_stream_half *half, uint32_t n)
{
	return n < ipq_stream_count(half) ? ipq_stream_edit_at(streams, half, n) : NULL;
}

/* The output position of an original one that lies behind an edit, and before the next one. */
static uint64_t behind_output(const struct ipq_stream_half *half,
			      const struct ipq_stream_edit *edit, uint64_t at)
{
	return edit ? output_end_of(edit) + (at - end_of(edit)) : at + (uint64_t)half->base;
}

uint64_t ipq_stream_output(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			   uint64_t at)
{
	const struct ipq_stream_edit *edit =
		last_of(streams, half, search(streams, half, is_at_before, at));

	return edit && before(at, end_of(edit)) ? output_end_of(edit)
						: behind_output(half, edit, at);
}

/* The original position of an output position that lies behind an edit, and before the next one. */
static uint64_t behind(const struct ipq_stream_half *half, const struct ipq_stream_edit *edit,
		       uint64_t out)
{
	return edit ? end_of(edit) + (out - output_end_of(edit)) : out - (uint64_t)half->base;
}

uint64_t ipq_stream_original(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			     uint64_t out)
{
	uint32_t n = search(streams, half, is_end_not_behind, out);
	const struct ipq_stream_edit *next = next_of(streams, half, n);
	uint64_t at = behind(half, last_of(streams, half, n), out);

	return next && before(next->at, at) ? next->at : at;
}

uint64_t ipq_stream_original_left(const struct ipq_streams *streams,
				  const struct ipq_stream_half *half, uint64_t out)
{
	uint32_t n = search(streams, half, is_end_before, out);
	const struct ipq_stream_edit *next = next_of(streams, half, n);
	uint64_t at = behind(half, last_of(streams, half, n), out);

	return next && before(next->at, at) ? next->at + 1 : at;
}

bool ipq_stream_touches(const struct ipq_streams *streams, const struct ipq_stream_half *half,
			uint64_t at, uint64_t end)
{
	uint32_t n = search(streams, half, is_at_before, at);
	const struct ipq_stream_edit *edit = last_of(streams, half, n);
	const struct ipq_stream_edit *next = next_of(streams, half, n);

	return (edit && before(at, end_of(edit))) || (next && before(next->at, end));
}

/* Changing */

static struct ipq_stream_edit *newest_of(const struct ipq_streams *streams,
					 const struct ipq_stream_half *half)
{
	uint32_t count = ipq_stream_count(half);

	return count ? ipq_stream_edit_at(streams, half, count - 1) : NULL;
}

/* The place of the edit that is to follow the last one; NULL: there is no room. */
static struct ipq_stream_edit *make_room(struct ipq_streams *streams, struct ipq_stream_half *half)
{
	uint32_t count = ipq_stream_count(half), place = ipq_stream_place(half, count);
	uint32_t *list = &half->ring[place / CHUNK_EDITS / CHUNK_NUMBERS], *number;

	if (count == IPQ_STREAM_EDITS)
		return NULL;
	if (!ipq_stream_chunk(streams, *list))
		*list = ipq_stream_chunk_take(streams);
	number = chunk_of(streams, half, place);
	if (number && !ipq_stream_chunk(streams, *number))
		*number = ipq_stream_chunk_take(streams);
	return ipq_stream_edit_at(streams, half, count);
}

/* Adds to an edit that is the last one. */
static int extend(struct ipq_streams *streams, struct ipq_stream_edit *edit, uint64_t removed,
		  const void *text, uint32_t len)
{
	if (len && len > UINT32_MAX - edit->added)
		return -ENOSPC;
	if (len && edit->added && !ipq_stream_text_add(streams, edit->text, edit->added, text, len))
		return -ENOSPC;
	if (len && !edit->added) {
		edit->text = ipq_stream_text_new(streams, text, len);
		if (edit->text == NO_CHUNK)
			return -ENOSPC;
	}
	ipq_stream_order();
	edit->added += len;
	ipq_stream_order();
	edit->removed += removed;
	return 0;
}

static int append(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t removed,
		  const void *text, uint32_t len)
{
	struct ipq_stream_edit *edit = make_room(streams, half);
	uint32_t first = NO_CHUNK;

	if (!edit)
		return -ENOSPC;
	if (len) {
		first = ipq_stream_text_new(streams, text, len);
		if (first == NO_CHUNK)
			return -ENOSPC;
	}
	*edit = (struct ipq_stream_edit){
		.at = half->done,
		.out = ipq_stream_output(streams, half, half->done),
		.removed = removed,
		.added = len,
		.text = first,
	};
	ipq_stream_set_alive(half, half->alive >> 16, ipq_stream_count(half) + 1);
	return 0;
}

int ipq_stream_edit(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t removed,
		    const void *text, uint32_t len)
{
	struct ipq_stream_edit *last = newest_of(streams, half);
	bool is_same = last && last->at == half->done;
	/* What was shown of it stays as it was: the text of an edit is in front of what it has
	 * removed. */
	bool goes_on = last && !len && end_of(last) == half->done;
	int ret;

	if (!removed && !len)
		return 0;
	if (removed >= IPQ_STREAM_FAR - half->done)
		return -ENOSPC;
	if (is_same || goes_on)
		ret = extend(streams, last, removed, text, len);
	else
		ret = append(streams, half, removed, text, len);
	ipq_stream_order();
	if (ret == 0)
		half->done += removed;
	return ret;
}

/* The edit at that place is the last one, at a position behind the others: it adds its text
 * there. */
static void put_last(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t at)
{
	uint32_t count = ipq_stream_count(half);
	struct ipq_stream_edit *edit = ipq_stream_edit_at(streams, half, count);
	const struct ipq_stream_edit *last = newest_of(streams, half);

	if (!edit)
		return;
	edit->out = behind_output(half, last, at);
	edit->at = at;
	edit->removed = 0;
	ipq_stream_set_alive(half, half->alive >> 16, count + 1);
}

/* Edits behind the end were made for bytes that do not come: their text goes out in front of the
 * FIN. Nobody was shown any of them. A successor finds those alone that are where they are to
 * be. */
void ipq_stream_end(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t at)
{
	uint32_t count = ipq_stream_count(half), kept = count;
	struct ipq_stream_edit *last = newest_of(streams, half);

	half->fin = at;
	while (last && before(at, last->at)) {
		ipq_stream_set_alive(half, half->alive >> 16, --kept);
		last = newest_of(streams, half);
	}
	if (last && before(at, end_of(last)))
		last->removed = at - last->at;
	for (; kept < count; kept++)
		put_last(streams, half, at);
}

void ipq_stream_ring_free(struct ipq_streams *streams, struct ipq_stream_half *half)
{
	for (uint32_t i = 0; i < 2; i++) {
		union ipq_stream_chunk *list = ipq_stream_chunk(streams, half->ring[i]);

		for (uint32_t j = 0; list && j < CHUNK_NUMBERS; j++)
			ipq_stream_chunk_give(streams, list->numbers[j]);
		ipq_stream_chunk_give(streams, half->ring[i]);
		half->ring[i] = NO_CHUNK;
	}
	ipq_stream_set_alive(half, 0, 0);
}

/* The chunk of a place where no edit is any more; it may have others. */
static void leave(struct ipq_streams *streams, struct ipq_stream_half *half, uint32_t place)
{
	uint32_t *number = chunk_of(streams, half, place);

	if (!ipq_stream_count(half))
		ipq_stream_ring_free(streams, half);
	/* The last place of the chunk, to which no edit that is alive has come round. */
	else if (number && place % CHUNK_EDITS == CHUNK_EDITS - 1 &&
		 ipq_stream_count(half) <= IPQ_STREAM_EDITS - CHUNK_EDITS) {
		ipq_stream_chunk_give(streams, *number);
		*number = NO_CHUNK;
	}
}

/* The oldest edit is not needed any more. */
static void prune_first(struct ipq_streams *streams, struct ipq_stream_half *half,
			struct ipq_stream_edit edit)
{
	uint32_t place = ipq_stream_place(half, 0);

	half->base = (int64_t)(output_end_of(&edit) - end_of(&edit));
	ipq_stream_set_alive(half, (place + 1) % IPQ_STREAM_EDITS, ipq_stream_count(half) - 1);
	ipq_stream_text_free(streams, edit.text, edit.added);
	leave(streams, half, place);
}

void ipq_stream_acknowledge(struct ipq_streams *streams, struct ipq_stream_half *half, uint64_t out)
{
	const struct ipq_stream_edit *edit;
	uint64_t una;

	if (before(half->acked, out))
		half->acked = out;
	una = ipq_stream_original(streams, half, half->acked);
	if (before(half->seen, una))
		una = half->seen;
	if (before(half->una, una))
		half->una = una;
	while (ipq_stream_count(half) && (edit = ipq_stream_edit_at(streams, half, 0)) != NULL &&
	       !before(half->acked, output_end_of(edit)) && !before(half->una, end_of(edit)))
		prune_first(streams, half, *edit);
}

/* What is written of the output: from one position to another. */
struct rendering {
	uint64_t out; /* the position that comes next */
	uint64_t from;
	uint64_t to;
	uint8_t *output;
};

/* Of len bytes that come next: how many are before what is asked for, and how many are asked
 * for. */
static uint32_t cut(struct rendering *r, uint64_t len, uint64_t *skipped)
{
	uint64_t first = r->out, last = r->out + len;

	r->out = last;
	if (before(first, r->from))
		first = r->from;
	if (before(r->to, last))
		last = r->to;
	*skipped = first - (r->out - len);
	return before(first, last) ? (uint32_t)(last - first) : 0;
}

static void put_text(struct rendering *r, const struct ipq_streams *streams,
		     const struct ipq_stream_edit *edit)
{
	uint64_t skipped;
	uint32_t n = cut(r, edit->added, &skipped);

	if (!n)
		return;
	ipq_stream_text_read(streams, edit->text, (uint32_t)skipped, r->output, n);
	r->output += n;
}

static void put_bytes(struct rendering *r, const uint8_t *bytes, uint64_t len)
{
	uint64_t skipped;
	uint32_t n = cut(r, len, &skipped);

	if (!n)
		return;
	memcpy(r->output, bytes + skipped, n);
	r->output += n;
}

void ipq_stream_render(const struct ipq_streams *streams, const struct ipq_stream_half *half,
		       uint64_t at, const uint8_t *bytes, uint32_t len, uint64_t from, uint64_t to,
		       uint8_t *output)
{
	struct rendering r = {ipq_stream_output(streams, half, at), from, to, output};
	uint32_t i = search(streams, half, is_at_before, at);
	const struct ipq_stream_edit *edit = last_of(streams, half, i);
	uint64_t end = at + len, pos = at, stop;

	if (edit && before(pos, end_of(edit)))
		pos = end_of(edit);
	while (before(r.out, to)) {
		struct ipq_stream_edit next = {.at = end + 1};

		edit = next_of(streams, half, i++);
		if (edit)
			next = *edit;
		stop = before(next.at, end) ? next.at : end;
		if (!before(pos, at) && before(pos, stop))
			put_bytes(&r, bytes + (pos - at), stop - pos);
		/* Text in front of a FIN is the last. */
		if (before(end, next.at))
			return;
		put_text(&r, streams, &next);
		pos = end_of(&next);
	}
}
