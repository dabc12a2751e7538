/* A line of --doctor's. */
#ifndef HOST_FINDING_H
#define HOST_FINDING_H

enum finding_level {
	FINDING_OK,
	FINDING_WARNING, /* it works, but perhaps not as one thinks */
	FINDING_PROBLEM	 /* it does not work */
};

struct findings {
	unsigned int count[FINDING_PROBLEM + 1];
};

/* Tells of something, which may end in "; " and the command that mends it. */
__attribute__((format(printf, 3, 4))) void
finding(struct findings *findings, enum finding_level level, const char *format, ...);

#endif
