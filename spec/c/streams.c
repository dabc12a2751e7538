/* The streams' model, by random choices. */
#include "stream_model.h"

/* Declared here, for LuaJIT alone calls it. */
int spec_stream_model(uint64_t seed, uint32_t steps);

static uint32_t next(void *choices)
{
	uint64_t *random = choices;

	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (uint32_t)(*random >> 16);
}

int spec_stream_model(uint64_t seed, uint32_t steps)
{
	static struct model m;
	uint64_t random = seed | 1;
	int ret = model_new(&m);

	for (int i = 0; i < 8; i++)
		next(&random);
	for (uint32_t i = 0; ret == 0 && i < steps; i++)
		ret = model_step(&m, next, &random);
	if (ret == 0)
		ret = model_end(&m);
	model_free(&m);
	return ret;
}
