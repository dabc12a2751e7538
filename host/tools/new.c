#include "tools.h"
#include "host/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#define EMBED(id, path)                                                                         \
	__asm__(".pushsection .rodata\n" #id ": .incbin \"" path "\"\n.byte 0\n.popsection\n"); \
	extern const char id[] __attribute__((visibility("hidden")))

EMBED(new_filter, "scripts/template/filter.lua");
EMBED(new_spec, "scripts/template/filter_spec.lua");

enum { NAME_LENGTH_MAX = 100, PATH_SIZE = NAME_LENGTH_MAX + 32 };

static const char placeholder[] = "@NAME@";

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-";

	return name[0] != '\0' && name[0] != '-' && strlen(name) <= NAME_LENGTH_MAX &&
	       name[strspn(name, letters)] == '\0';
}

/* The text with name in the place of each placeholder. */
static void text_write(FILE *file, const char *text, const char *name)
{
	const char *at;

	while ((at = strstr(text, placeholder))) {
		fwrite(text, 1, (size_t)(at - text), file);
		fputs(name, file);
		text = at + sizeof(placeholder) - 1;
	}
	fputs(text, file);
}

static int complain(const char *path, int error)
{
	log_write(LOG_LEVEL_ERROR, "cannot write %s: %s", path, strerror(error));
	return EX_CANTCREAT;
}

static int file_write(const char *path, const char *text, const char *name)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
	bool failed;

	if (!file)
		return complain(path, errno);
	text_write(file, text, name);
	failed = ferror(file);
	if (fclose(file) == 0 && !failed)
		return EX_OK;
	unlink(path);
	return complain(path, errno);
}

int new_write(const char *name)
{
	char filter[PATH_SIZE], spec[PATH_SIZE];
	int code;

	if (!is_name(name)) {
		log_write(LOG_LEVEL_ERROR,
			  "--new %s: a name has letters, digits, \"_\" and \"-\", %d at most", name,
			  NAME_LENGTH_MAX);
		return EX_USAGE;
	}
	snprintf(filter, sizeof(filter), "%s.lua", name);
	snprintf(spec, sizeof(spec), "spec/%s_spec.lua", name);
	/* Both or none. */
	if (access(filter, F_OK) == 0)
		return complain(filter, EEXIST);
	if (access(spec, F_OK) == 0)
		return complain(spec, EEXIST);
	if (mkdir("spec", 0777) < 0 && errno != EEXIST)
		return complain("spec", errno);
	code = file_write(filter, new_filter, name);
	if (code != EX_OK)
		return code;
	code = file_write(spec, new_spec, name);
	if (code != EX_OK) {
		unlink(filter);
		return code;
	}
	printf("%s and %s are written.\n"
	       "Test it:  ipq-lua --test spec\n"
	       "Use it:   ipq-lua %s\n",
	       filter, spec, filter);
	return EX_OK;
}
