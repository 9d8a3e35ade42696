/* server/config_check.c: what must hold between settings, and what follows from them. */
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "server/address.h"
#include "server/config_internal.h"

uint32_t config_member_find(const struct config_members *members, const char *name)
{
    uint32_t at = 0;

    ASSERT(members->count <= NODE_MEMBER_COUNT_MAX);
    while (at < members->count && strcmp(members->items[at].name, name) != 0) {
        at++;
    }
    return at;
}

/* The sentence in up to four pieces; NULL pieces are left out. */
static bool refuse(struct config_problem *problem, const char *first, const char *second,
                   const char *third, const char *fourth)
{
    struct text text;

    config_problem_begin(problem, CONFIG_EXIT_INVALID, &text);
    text_add(&text, first);
    text_add(&text, second == NULL ? "" : second);
    text_add(&text, third == NULL ? "" : third);
    text_add(&text, fourth == NULL ? "" : fourth);
    return false;
}

static bool is_wildcard(const char *address)
{
    struct address parsed;

    return address_parse(bytes_of_text(address), &parsed) && address_is_wildcard(&parsed);
}

static bool required_are_given(const struct config *config, struct config_problem *problem)
{
    if (config->name[0] == '\0') {
        return refuse(problem,
                      "--name is missing: give this node's name, one of --cluster, as "
                      "--name n1",
                      NULL, NULL, NULL);
    }
    if (config->accepts_loss) {
        return refuse(problem,
                      "--yes-i-accept-loss is of `holdfastd recover`: leave it out to start a node",
                      NULL, NULL, NULL);
    }
    if (config->data[0] == '\0') {
        return refuse(problem,
                      "--data is missing: give a folder of this node alone, as --data "
                      "/var/lib/holdfast",
                      NULL, NULL, NULL);
    }
    if (config->client[0] == '\0') {
        return refuse(problem,
                      "--client is missing: give the address for clients, as --client "
                      "127.0.0.1:7101",
                      NULL, NULL, NULL);
    }
    if (config->cluster.count == 0) {
        return refuse(problem,
                      "--cluster is missing: list all nodes, the same on each, as "
                      "--cluster n1=HOST:PORT,n2=HOST:PORT,n3=HOST:PORT",
                      NULL, NULL, NULL);
    }
    return true;
}

static bool addresses_are_unique(const struct config *config, struct config_problem *problem)
{
    const struct config_members *cluster = &config->cluster;

    for (uint32_t i = 0; i < cluster->count; i++) {
        const char *address = cluster->items[i].address;

        if (is_wildcard(address)) {
            return refuse(problem, "--cluster: nobody can dial ", address,
                          "; give an address that the other nodes reach", NULL);
        }
        if (strcmp(address, config->client) == 0) {
            return refuse(problem, "--client: ", address, " is the peer address of node ",
                          cluster->items[i].name);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (strcmp(address, cluster->items[j].address) == 0) {
                return refuse(problem, "--cluster: two nodes have the address ", address,
                              "; each needs its own", NULL);
            }
        }
    }
    return true;
}

static bool name_is_listed(const struct config *config, struct config_problem *problem)
{
    if (config_member_find(&config->cluster, config->name) == config->cluster.count) {
        return refuse(problem, "--name: ", config->name,
                      " is not in --cluster; add it there, on every node, or mend the name", NULL);
    }
    return true;
}

/* --peer says where we listen, the own entry of --cluster what others dial: the same, or all
 * interfaces at the same port. */
static bool peer_is_settled(struct config *config, struct config_problem *problem)
{
    uint32_t self = config_member_find(&config->cluster, config->name);
    const char *own = config->cluster.items[self].address;
    struct address listened;
    struct address dialed;

    if (config->peer[0] == '\0') {
        memcpy(config->peer, own, strlen(own) + 1);
    }
    if (strcmp(config->peer, own) == 0) {
        return true;
    }
    if (address_parse(bytes_of_text(config->peer), &listened) &&
        address_parse(bytes_of_text(own), &dialed) && address_is_wildcard(&listened) &&
        listened.port == dialed.port) {
        return true;
    }
    return refuse(problem, "--peer is not this node's entry in --cluster, which is ", own,
                  "; leave --peer out, or listen on 0.0.0.0 at the same port", NULL);
}

static bool client_is_settled(struct config *config, struct config_problem *problem)
{
    if (config->advertise_client[0] == '\0') {
        memcpy(config->advertise_client, config->client, sizeof(config->client));
    }
    if (is_wildcard(config->advertise_client)) {
        return refuse(problem, "--client: no client can dial ", config->advertise_client,
                      "; give --advertise-client HOST:PORT as well", NULL);
    }
    return true;
}

static bool timings_agree(const struct config *config, struct config_problem *problem)
{
    char left[DURATION_TEXT_SIZE];
    char right[DURATION_TEXT_SIZE];

    if (config->election_min_ms >= config->election_max_ms) {
        return refuse(problem, "--election-max must be longer than --election-min, which is ",
                      duration_to_text(config->election_min_ms, left),
                      "; twice that is a good value", NULL);
    }
    if (config->heartbeat_ms * 2 > config->election_min_ms) {
        return refuse(problem, "--heartbeat is ", duration_to_text(config->heartbeat_ms, left),
                      " and must be at most half of --election-min, which is ",
                      duration_to_text(config->election_min_ms, right));
    }
    if (config->read_lease_ms != 0 && (config->read_lease_ms < 2 * config->heartbeat_ms ||
                                       config->read_lease_ms > config->election_min_ms)) {
        return refuse(problem, "--read-lease must be 0ms, or at least twice --heartbeat, which is ",
                      duration_to_text(config->heartbeat_ms, left),
                      ", and at most --election-min, which is ",
                      duration_to_text(config->election_min_ms, right));
    }
    return true;
}

bool config_check(struct config *config, struct config_problem *problem)
{
    return required_are_given(config, problem) && name_is_listed(config, problem) &&
           addresses_are_unique(config, problem) && peer_is_settled(config, problem) &&
           client_is_settled(config, problem) && timings_agree(config, problem);
}

bool config_check_recover(const struct config *config, struct config_problem *problem)
{
    if (config->data[0] == '\0') {
        return refuse(problem,
                      "--data is missing: give the folder of the node that is left, as "
                      "--data /var/lib/holdfast",
                      NULL, NULL, NULL);
    }
    return true;
}
