/* client/owner.c: puts the label together from what the machine says. */
#define _DEFAULT_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "client/owner.h"

#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/text.h"

static void add_user(struct text *text)
{
    char memory[1024];
    struct passwd entry;
    struct passwd *user = NULL;
    int failed = getpwuid_r(geteuid(), &entry, memory, sizeof memory, &user);

    ASSERT(failed == 0 || user == NULL);
    text_add(text, user == NULL ? "?" : user->pw_name);
}

static void add_host(struct text *text)
{
    char host[65] = "?";

    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '?';
        host[1] = '\0';
    }
    ASSERT(host[sizeof host - 1] == '\0');
    text_add(text, host);
}

/* The name of this process. */
static void add_own_name(struct text *text)
{
    char name[64] = "?";
    FILE *file = fopen("/proc/self/comm", "re");

    if (file != NULL) {
        if (fgets(name, (int)sizeof name, file) != NULL) {
            name[strcspn(name, "\n")] = '\0';
        }
        (void)fclose(file);
    }
    text_add(text, " ");
    text_add(text, name);
}

void owner_label(char *label, size_t size, char *const *command)
{
    struct text text;

    ASSERT(size > 0);
    text_init(&text, label, size);
    add_user(&text);
    text_add(&text, "@");
    add_host(&text);
    text_add(&text, " pid ");
    text_add_u64(&text, (uint64_t)getpid());
    if (command == NULL) {
        add_own_name(&text);
    }
    for (char *const *word = command; word != NULL && *word != NULL; word++) {
        text_add(&text, " ");
        text_add(&text, *word);
    }
    for (char *at = label; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || (unsigned char)*at >= 0x7f) {
            *at = '?'; /* The protocol takes UTF-8 only. */
        }
    }
}
