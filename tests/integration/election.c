/* tests/integration/election.c: an election as a program uses it: campaign, observe, proclaim, lose
 * it by force, resign.
 *
 * usage: election ENDPOINTS [TOKEN]
 *
 * Exit 0 when everything was as client/holdfast.h says; else 1 after a line that says what was not.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/holdfast.h"

enum { VALUE_SIZE_MAX = 255 };

/* The last answer, handed from the client's thread to ours. */
struct answer {
    sem_t told;
    enum holdfast_status status;
    uint64_t token;
    struct holdfast_leader_info leader;
    char value[VALUE_SIZE_MAX];
    size_t elections;
    size_t locks;
};

struct revocation {
    sem_t told;
    _Atomic uint64_t token;
    bool is_named;
};

static void on_answer(const struct holdfast_result *result, void *context)
{
    struct answer *answer = context;

    answer->status = result->status;
    answer->token = result->token;
    answer->locks = result->lock_count;
    if (result->leader != NULL) {
        answer->leader = *result->leader;
        answer->leader.value = answer->value;
        if (result->leader->value_size != 0) {
            memcpy(answer->value, result->leader->value, result->leader->value_size);
        }
    }
    if (result->lock_count == 1) {
        answer->elections =
            result->locks[0].name_size == 4 && memcmp(result->locks[0].name, "main", 4) == 0;
    }
    sem_post(&answer->told);
}

static void on_revoked(struct holdfast_session *session, const void *name, size_t name_size,
                       uint64_t token, void *context)
{
    struct revocation *revocation = context;

    revocation->is_named = session != NULL && name_size == 4 && memcmp(name, "main", 4) == 0;
    atomic_store(&revocation->token, token);
    sem_post(&revocation->told);
}

static void need(bool is_so, const char *what)
{
    if (!is_so) {
        fprintf(stderr, "election: not so: %s\n", what);
        exit(1);
    }
}

static void await(struct answer *answer, const struct holdfast_call *call)
{
    need(call != NULL, "a call is taken");
    sem_wait(&answer->told);
}

static bool shows(const struct answer *answer, uint64_t token, const char *value)
{
    return answer->status == HOLDFAST_OK && answer->leader.token == token &&
           answer->leader.value_size == strlen(value) &&
           memcmp(answer->value, value, strlen(value)) == 0;
}

static uint64_t campaign(struct holdfast_session *session, const char *value)
{
    const struct holdfast_campaign_options options = {
        .value = value, .value_size = strlen(value), .wait_ms = HOLDFAST_TRY};
    struct answer answer = {.token = 0};

    sem_init(&answer.told, 0, 0);
    await(&answer, holdfast_election_campaign(session, "main", 4, &options, on_answer, &answer));
    need(answer.status == HOLDFAST_OK && answer.token != 0, "a candidate alone leads");
    sem_destroy(&answer.told);
    return answer.token;
}

static void lead(struct holdfast *client, struct holdfast_session *session,
                 struct revocation *revocation)
{
    struct answer answer = {.token = 0};
    struct answer waiting = {.token = 0};
    uint64_t token = campaign(session, "one");
    struct holdfast_proclamation change = {
        .name = "main", .name_size = 4, .token = token, .value = "two", .value_size = 3};

    sem_init(&answer.told, 0, 0);
    sem_init(&waiting.told, 0, 0);
    await(&answer, holdfast_election_observe(client, "main", 4, NULL, 0, on_answer, &answer));
    need(shows(&answer, token, "one"), "an observer sees the leader's value");
    const struct holdfast_call *pending =
        holdfast_election_observe(client, "main", 4, &answer.leader, 60000, on_answer, &waiting);
    await(&answer, holdfast_election_proclaim(session, &change, on_answer, &answer));
    need(answer.status == HOLDFAST_OK, "a leader proclaims");
    await(&waiting, pending);
    need(shows(&waiting, token, "two"), "the observer is told of the new value");
    change.token++;
    await(&answer, holdfast_election_proclaim(session, &change, on_answer, &answer));
    need(answer.status == HOLDFAST_FENCED, "with another token nobody proclaims");

    await(&answer, holdfast_elections(client, "", 0, "", 0, on_answer, &answer));
    need(answer.locks == 1 && answer.elections == 1, "the election is listed by its name");
    await(&answer, holdfast_locks(client, "", 0, "", 0, on_answer, &answer));
    need(answer.locks == 0, "it is not among the locks");
    await(&answer, holdfast_lock_show(client, "\0main", 5, on_answer, &answer));
    need(answer.status == HOLDFAST_MALFORMED, "no lock's name begins with a zero byte");

    const struct holdfast_forced_unlock forced = {
        .name = "main", .name_size = 4, .token = token, .reason = "test", .is_election = true};
    await(&answer, holdfast_lock_break(client, &forced, on_answer, &answer));
    need(answer.status == HOLDFAST_OK, "a leader is put out by force");
    sem_wait(&revocation->told);
    need(revocation->is_named && atomic_load(&revocation->token) == token, "and is told so");

    uint64_t again = campaign(session, "three");
    need(again > token, "tokens grow");
    await(&answer, holdfast_election_resign(session, "main", 4, again, on_answer, &answer));
    need(answer.status == HOLDFAST_OK, "a leader resigns");
    await(&answer, holdfast_election_observe(client, "main", 4, NULL, 0, on_answer, &answer));
    need(shows(&answer, 0, ""), "then nobody leads");
    sem_destroy(&answer.told);
    sem_destroy(&waiting.told);
}

int main(int count, char **arguments)
{
    struct revocation revocation = {.token = 0};
    struct holdfast *client = NULL;
    struct holdfast_session *session = NULL;

    need(count == 2 || count == 3, "usage: election ENDPOINTS [TOKEN]");
    const struct holdfast_options options = {.endpoints = arguments[1],
                                             .token = count == 3 ? arguments[2] : NULL};
    const struct holdfast_session_options session_options = {
        .ttl_ms = 10000, .on_revoked = on_revoked, .context = &revocation};

    sem_init(&revocation.told, 0, 0);
    need(holdfast_open(&client, &options) == HOLDFAST_OK, "a client opens");
    need(holdfast_session_open_sync(client, &session_options, &session) == HOLDFAST_OK,
         "a session opens");
    lead(client, session, &revocation);
    need(holdfast_session_end_sync(session) == HOLDFAST_OK, "the session ends");
    holdfast_close(client, NULL, NULL);
    sem_destroy(&revocation.told);
    return 0;
}
