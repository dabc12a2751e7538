#include "backoff.h"

enum { MINUTE_MS = 60000, FIRST_MS = 10, MAX_MS = 1000 };

int backoff_next(struct backoff *backoff, int64_t now_ms, bool is_fruitless, unsigned int max)
{
	int delay = FIRST_MS;

	if (now_ms - backoff->minute_at > MINUTE_MS || backoff->recent == 0) {
		backoff->minute_at = now_ms;
		backoff->recent = 0;
	}
	if (++backoff->recent > max)
		return -1;
	if (!is_fruitless) {
		backoff->fruitless = 0;
		return 0;
	}
	for (unsigned int i = 0; i < backoff->fruitless && delay < MAX_MS; i++)
		delay *= 2;
	backoff->fruitless++;
	return delay < MAX_MS ? delay : MAX_MS;
}
