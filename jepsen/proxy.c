/* jepsen/proxy.c: links and the commands that change them. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): <uv.h> needs more than C11. */
#include "jepsen/proxy.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/list.h"
#include "base/macros.h"
#include "jepsen/proxy_pair.h"

enum {
    WORD_COUNT_MAX = 4,
    LINE_SIZE_MAX = 256,
    BACKLOG = 128,
    DELAY_MS_MAX = 60 * 1000,
};

static const char *const state_names[] = {"open", "stalled", "cut"};

struct proxy {
    uv_loop_t *loop;
    unsigned link_count;
    struct link *links[PROXY_LINK_COUNT_MAX];
};

/* --- Commands --------------------------------------------------------------------------------- */

static void refuse(struct text *answer, const char *why, const char *what)
{
    text_add(answer, "error: ");
    text_add(answer, why);
    text_add(answer, what);
    text_add(answer, "\n");
}

static bool address_parse(const char *text, struct sockaddr_in *address)
{
    char host[PROXY_ADDRESS_SIZE];
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;

    if (colon == NULL || (size_t)(colon - text) >= sizeof(host) ||
        !text_parse_u64(bytes_of_text(colon + 1), &port) || port > UINT16_MAX) {
        return false;
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    return uv_ip4_addr(host, (int)port, address) == 0;
}

static void link_closed(uv_handle_t *handle)
{
    struct link *link = handle->data;

    /* A link that could not listen is in no list. */
    if (link->loop == NULL) {
        free(link);
    }
}

static void arrived(uv_stream_t *listener, int status)
{
    if (status == 0) {
        proxy_pair_accept(listener->data);
    }
}

static void link_add(struct proxy *proxy, const char *name, const char *listen, const char *target,
                     struct text *answer)
{
    struct link *link = calloc(1, sizeof(*link));
    struct sockaddr_in here;

    ASSERT(link != NULL);
    if (proxy->link_count == PROXY_LINK_COUNT_MAX || strlen(name) >= PROXY_NAME_SIZE ||
        strcmp(name, "*") == 0) {
        refuse(answer, "too many links, or no fit name: ", name);
        free(link);
        return;
    }
    if (strlen(listen) >= PROXY_ADDRESS_SIZE || strlen(target) >= PROXY_ADDRESS_SIZE ||
        !address_parse(listen, &here) || !address_parse(target, &link->address)) {
        refuse(answer, "write add LINK IPv4:port IPv4:port, not ", listen);
        free(link);
        return;
    }
    memcpy(link->name, name, strlen(name) + 1);
    memcpy(link->listen, listen, strlen(listen) + 1);
    memcpy(link->target, target, strlen(target) + 1);
    list_init(&link->pairs);
    ASSERT(uv_tcp_init(proxy->loop, &link->listener) == 0);
    link->listener.data = link;
    int code = uv_tcp_bind(&link->listener, (const struct sockaddr *)&here, 0);
    if (code == 0) {
        code = uv_listen((uv_stream_t *)&link->listener, BACKLOG, arrived);
    }
    if (code != 0) {
        refuse(answer, "cannot listen: ", uv_strerror(code));
        uv_close((uv_handle_t *)&link->listener, link_closed);
        return;
    }
    link->loop = proxy->loop;
    proxy->links[proxy->link_count++] = link;
    text_add(answer, "ok\n");
}

/* Every pair is looked at; resetting one does not take it off the list before the loop runs. */
static void link_adjust(struct link *link)
{
    for (struct list *at = link->pairs.next; at != &link->pairs; at = at->next) {
        proxy_pair_adjust(CONTAINER_OF(at, struct pair, member));
    }
}

static void link_reset(struct link *link, bool only_torn)
{
    for (struct list *at = link->pairs.next; at != &link->pairs; at = at->next) {
        struct pair *pair = CONTAINER_OF(at, struct pair, member);

        if (!only_torn || pair->flows[AHEAD].is_torn || pair->flows[BACK].is_torn) {
            proxy_pair_reset(pair);
        }
    }
}

static void link_heal(struct link *link)
{
    link->states[AHEAD] = STATE_OPEN;
    link->states[BACK] = STATE_OPEN;
    link->delay_ms = 0;
    link_reset(link, true);
    link_adjust(link);
}

/* What was read before and not written yet is on its way too: a cut loses it. */
static void link_cut(struct link *link, enum direction direction)
{
    for (struct list *at = link->pairs.next; at != &link->pairs; at = at->next) {
        proxy_pair_lose(CONTAINER_OF(at, struct pair, member), direction);
    }
}

static bool directions_parse(const char *word, bool chosen[DIRECTION_COUNT])
{
    bool is_both = word == NULL || strcmp(word, "both") == 0;

    chosen[AHEAD] = is_both || strcmp(word, "ahead") == 0;
    chosen[BACK] = is_both || strcmp(word, "back") == 0;
    return chosen[AHEAD] || chosen[BACK];
}

static bool link_set(struct link *link, enum state state, const char *word, struct text *answer)
{
    bool chosen[DIRECTION_COUNT];

    if (!directions_parse(word, chosen)) {
        refuse(answer, "a direction is ahead, back or both, not ", word);
        return false;
    }
    for (enum direction at = AHEAD; at < DIRECTION_COUNT; at++) {
        if (chosen[at]) {
            link->states[at] = state;
            if (state == STATE_CUT) {
                link_cut(link, at);
            }
        }
    }
    link_adjust(link);
    return true;
}

static bool link_delay(struct link *link, const char *word, struct text *answer)
{
    uint64_t delay_ms = 0;

    if (word == NULL || !text_parse_u64(bytes_of_text(word), &delay_ms) ||
        delay_ms > DELAY_MS_MAX) {
        refuse(answer, "write delay LINK MS, up to 60000", "");
        return false;
    }
    link->delay_ms = delay_ms;
    return true;
}

static bool link_command(struct link *link, char *const *words, struct text *answer)
{
    if (strcmp(words[0], "cut") == 0) {
        return link_set(link, STATE_CUT, words[2], answer);
    }
    if (strcmp(words[0], "stall") == 0) {
        return link_set(link, STATE_STALLED, words[2], answer);
    }
    if (strcmp(words[0], "delay") == 0) {
        return link_delay(link, words[2], answer);
    }
    if (strcmp(words[0], "reset") == 0) {
        link_reset(link, false);
        return true;
    }
    if (strcmp(words[0], "heal") == 0) {
        link_heal(link);
        return true;
    }
    refuse(answer, "write add, cut, stall, delay, reset, heal or list, not ", words[0]);
    return false;
}

static void add_number(struct text *answer, const char *name, uint64_t number)
{
    text_add(answer, name);
    text_add_u64(answer, number);
}

static void list_links(const struct proxy *proxy, struct text *answer)
{
    for (unsigned i = 0; i < proxy->link_count; i++) {
        const struct link *link = proxy->links[i];
        const char *const pieces[] = {link->name,
                                      " listen=",
                                      link->listen,
                                      " target=",
                                      link->target,
                                      " ahead=",
                                      state_names[link->states[AHEAD]],
                                      " back=",
                                      state_names[link->states[BACK]]};

        for (size_t at = 0; at < COUNT_OF(pieces); at++) {
            text_add(answer, pieces[at]);
        }
        add_number(answer, " delay_ms=", link->delay_ms);
        add_number(answer, " connections=", link->pair_count);
        add_number(answer, " ahead_bytes=", link->forwarded[AHEAD]);
        add_number(answer, " back_bytes=", link->forwarded[BACK]);
        add_number(answer, " ahead_lost=", link->lost[AHEAD]);
        add_number(answer, " back_lost=", link->lost[BACK]);
        text_add(answer, "\n");
    }
    text_add(answer, "ok\n");
}

/* Cuts the line into words in place; absent ones are NULL. False when there are too many. */
static bool words_split(char *line, char *words[WORD_COUNT_MAX])
{
    unsigned count = 0;

    memset(words, 0, WORD_COUNT_MAX * sizeof(*words));
    for (char *at = line + strspn(line, " \r\n"); *at != '\0'; at += strspn(at, " \r\n")) {
        if (count == WORD_COUNT_MAX) {
            return false;
        }
        words[count++] = at;
        at += strcspn(at, " \r\n");
        if (*at != '\0') {
            *at++ = '\0';
        }
    }
    return true;
}

static void links_command(struct proxy *proxy, char *const *words, struct text *answer)
{
    bool is_known = false;

    for (unsigned i = 0; i < proxy->link_count; i++) {
        struct link *link = proxy->links[i];

        if (strcmp(words[1], "*") == 0 || strcmp(words[1], link->name) == 0) {
            is_known = true;
            if (!link_command(link, words, answer)) {
                return;
            }
        }
    }
    if (is_known) {
        text_add(answer, "ok\n");
    } else {
        refuse(answer, "there is no link ", words[1]);
    }
}

void proxy_command(struct proxy *proxy, const char *line, struct text *answer)
{
    char copy[LINE_SIZE_MAX];
    char *words[WORD_COUNT_MAX];

    if (strlen(line) >= sizeof(copy)) {
        refuse(answer, "the line is too long", "");
        return;
    }
    memcpy(copy, line, strlen(line) + 1);
    if (!words_split(copy, words) || words[0] == NULL) {
        refuse(answer, "write a command and up to three words", "");
    } else if (strcmp(words[0], "list") == 0 && words[1] == NULL) {
        list_links(proxy, answer);
    } else if (strcmp(words[0], "add") == 0 && words[3] != NULL) {
        link_add(proxy, words[1], words[2], words[3], answer);
    } else if (words[1] == NULL) {
        refuse(answer, "name a link, or *, behind ", words[0]);
    } else {
        links_command(proxy, words, answer);
    }
}

/* --- Life ------------------------------------------------------------------------------------- */

struct proxy *proxy_open(uv_loop_t *loop)
{
    struct proxy *proxy = calloc(1, sizeof(*proxy));

    if (proxy != NULL) {
        proxy->loop = loop;
    }
    return proxy;
}

void proxy_close(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->link_count; i++) {
        struct link *link = proxy->links[i];

        link_reset(link, false);
        uv_close((uv_handle_t *)&link->listener, NULL);
    }
}

void proxy_free(struct proxy *proxy)
{
    for (unsigned i = 0; i < proxy->link_count; i++) {
        ASSERT(list_is_empty(&proxy->links[i]->pairs));
        free(proxy->links[i]);
    }
    free(proxy);
}
