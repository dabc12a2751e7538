#include "control.h"

#include <stdio.h>
#include <string.h>

bool control_is_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789_-.@\\";
	size_t len = strlen(name);

	return len > 0 && len <= CONTROL_NAME_MAX && name[0] != '.' && strspn(name, allowed) == len;
}

void control_address(const char *name, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){.sun_family = AF_UNIX};
	snprintf(address->sun_path, sizeof(address->sun_path), "%s/%s/%s", CONTROL_FOLDER, name,
		 CONTROL_SOCKET);
}
