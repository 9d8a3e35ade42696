/* server/main.c: holdfastd: reads its configuration, then is a node until it is told to stop. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/text.h"
#include "base/version.h"
#include "server/auth_file.h"
#include "server/config.h"
#include "server/daemon.h"
#include "server/dump.h"
#include "server/folder.h"
#include "server/recover.h"

enum { HELP_SIZE = 4096 };

/* Of a line that nobody can read there is nobody to tell. */
static void print(int descriptor, const char *head, const char *text)
{
    const char *const pieces[] = {head, text, "\n"};
    enum error error = ERR_OK;

    for (size_t i = 0; i < COUNT_OF(pieces) && error == ERR_OK; i++) {
        error = folder_write_all(descriptor, bytes_of_text(pieces[i]));
    }
}

static bool file_is_unfit(const char *path, const char *why, struct config_problem *problem)
{
    struct text text;

    problem->exit_status = CONFIG_EXIT_INVALID;
    text_init(&text, problem->text, sizeof(problem->text));
    text_add(&text, "--config ");
    text_add(&text, path);
    text_add(&text, ": ");
    text_add(&text, why);
    return false;
}

/* Reads the whole file, which must be smaller than `capacity`. An errno, or 0. */
static int file_read(const char *path, uint8_t *memory, size_t capacity, size_t *size)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    int number = 0;

    *size = 0;
    if (descriptor < 0) {
        return errno;
    }
    while (*size < capacity && number == 0) {
        ssize_t result = read(descriptor, memory + *size, capacity - *size);

        if (result < 0) {
            number = errno == EINTR ? 0 : errno;
        } else if (result == 0) {
            break;
        } else {
            *size += (size_t)result;
        }
    }
    (void)close(descriptor);
    return number == 0 && *size == capacity ? EFBIG : number;
}

static bool file_apply(struct config *config, struct config_problem *problem)
{
    uint8_t *memory = malloc(CONFIG_TEXT_SIZE_MAX);
    size_t size;

    if (memory == NULL) {
        return file_is_unfit(config->config, "there is no memory to read it", problem);
    }
    int number = file_read(config->config, memory, CONFIG_TEXT_SIZE_MAX, &size);
    bool is_valid = number == 0
                        ? config_parse_text(config, config->config, bytes_of(memory, size), problem)
                        : file_is_unfit(config->config, strerror(number), problem);
    free(memory);
    return is_valid;
}

/* Everything that can be known before anything is opened. `recovers`: the flags stand behind the
 * word `recover`, and name a folder rather than a node. */
static bool configure(struct config *config, bool recovers, int argument_count, char **arguments,
                      struct config_problem *problem)
{
    int skipped = recovers ? 2 : 1;

    config_init(config);
    if (!config_parse_flags(config, argument_count - skipped,
                            (const char *const *)arguments + skipped, problem)) {
        return false;
    }
    if (config->help || config->version || config->dump[0] != '\0') {
        return true;
    }
    if (!config_parse_environment(config, (const char *const *)environ, problem)) {
        return false;
    }
    if (config->config[0] != '\0' && !file_apply(config, problem)) {
        return false;
    }
    return recovers ? config_check_recover(config, problem) : config_check(config, problem);
}

static int help(void)
{
    char memory[HELP_SIZE];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    config_help(&text);
    ASSERT(!text.truncated);
    return folder_write_all(STDOUT_FILENO, bytes_of(text.data, text.size)) == ERR_OK ? 0 : 1;
}

int main(int argument_count, char **arguments)
{
    struct config config;
    struct config_problem problem;
    struct credentials credentials;

    bool recovers = argument_count > 1 && strcmp(arguments[1], "recover") == 0;

    if (!configure(&config, recovers, argument_count, arguments, &problem)) {
        print(STDERR_FILENO, "holdfastd: ", problem.text);
        return problem.exit_status;
    }
    if (config.help) {
        return help();
    }
    if (config.version) {
        print(STDOUT_FILENO, "holdfastd ", HOLDFAST_VERSION);
        return 0;
    }
    if (config.dump[0] != '\0') {
        return dump_print(config.dump, STDOUT_FILENO);
    }
    if (recovers) {
        return recover_run(&config);
    }
    if (config.auth_file[0] != '\0') {
        if (!auth_file_read(config.auth_file, &credentials, &problem)) {
            print(STDERR_FILENO, "holdfastd: ", problem.text);
            return problem.exit_status;
        }
        config.credentials = &credentials;
    }
    return daemon_run(&config);
}
