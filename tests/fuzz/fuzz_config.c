/* tests/fuzz/fuzz_config.c: any text as the INI file of holdfastd.
 *
 * Laws: nothing outside of the text is read; a refusal says why in one line and with an exit
 * status; what was taken and checked is found again by its own names. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "server/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problem(const struct config_problem *problem)
{
    const char *end = memchr(problem->text, '\0', sizeof(problem->text));

    ASSERT(end != NULL && end != problem->text);
    ASSERT(memchr(problem->text, '\n', (size_t)(end - problem->text)) == NULL);
    ASSERT(problem->exit_status == CONFIG_EXIT_INVALID);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    struct config_problem problem = {0};

    config_init(&config);
    if (!config_parse_text(&config, "fuzz.ini", bytes_of(data, size), &problem)) {
        check_problem(&problem);
        return 0;
    }
    if (!config_check(&config, &problem)) {
        check_problem(&problem);
        return 0;
    }
    ASSERT(config.cluster.count >= 1 && config.cluster.count <= NODE_MEMBER_COUNT_MAX);
    for (uint32_t i = 0; i < config.cluster.count; i++) {
        ASSERT(config_member_find(&config.cluster, config.cluster.items[i].name) == i);
    }
    ASSERT(config_member_find(&config.cluster, config.name) < config.cluster.count);
    return 0;
}
