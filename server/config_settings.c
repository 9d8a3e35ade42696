/* server/config_settings.c: the table of all settings, and how the value of each kind is read. */
#include <string.h>

#include "base/assert.h"
#include "base/bucket.h"
#include "base/duration.h"
#include "server/address.h"
#include "server/config_internal.h"

enum { EDIT_NAME_SIZE_MAX = 40 }; /* Names are compared up to here. */

#define FIELD(field) offsetof(struct config, field), sizeof(((struct config *)0)->field)

static const struct config_setting settings[] = {
    {"name", CONFIG_NAME, FIELD(name), 0, 0, "n1", "this node's name, one of --cluster"},
    {"data", CONFIG_PATH, FIELD(data), 0, 0, "DIR", "folder of this node's files"},
    {"client", CONFIG_ADDRESS, FIELD(client), 0, 0, "HOST:PORT", "where clients are served"},
    {"peer", CONFIG_ADDRESS, FIELD(peer), 0, 0, "HOST:PORT",
     "where the other nodes are served [own entry of --cluster]"},
    {"cluster", CONFIG_MEMBERS, FIELD(cluster), 0, 0, "n1=HOST:PORT,...",
     "names and peer addresses: to form, all; to join, members and itself"},
    {"dial", CONFIG_DIALS, FIELD(dial), 0, 0, "n2=HOST:PORT,...",
     "other addresses at which this node alone dials its peers"},
    {"advertise-client", CONFIG_ADDRESS, FIELD(advertise_client), 0, 0, "HOST:PORT",
     "what clients are told to dial for this node [--client]"},
    {"config", CONFIG_PATH, FIELD(config), 0, 0, "FILE", "INI file with the same names"},
    {"election-min", CONFIG_DURATION, FIELD(election_min_ms), 10, 60000, "DURATION",
     "shortest election timeout [250ms]"},
    {"election-max", CONFIG_DURATION, FIELD(election_max_ms), 20, 120000, "DURATION",
     "longest election timeout [500ms]"},
    {"heartbeat", CONFIG_DURATION, FIELD(heartbeat_ms), 1, 10000, "DURATION",
     "interval of a leader's heartbeats [50ms]"},
    {"clock-rate-ppm", CONFIG_NUMBER, FIELD(clock_rate_ppm), 0, 100000, "N",
     "how far clock rates may differ, in millionths [10000]"},
    {"read-lease", CONFIG_DURATION, FIELD(read_lease_ms), 0, 60000, "DURATION",
     "reads need no round while a majority promised this; 0ms: off [0ms]"},
    {"margin", CONFIG_DURATION, FIELD(margin_ms), 1, 60000, "DURATION",
     "taken off every holder's deadline [100ms]"},
    {"max-connections", CONFIG_NUMBER, FIELD(max_connections), 1, 60000, "N",
     "client connections; more are closed at once [1024]"},
    {"max-sessions", CONFIG_NUMBER, FIELD(max_sessions), 1, 1000000, "N",
     "open sessions; more are refused [10000]"},
    {"max-segments", CONFIG_NUMBER, FIELD(max_segments), 2, 65536, "N",
     "files of 64 MiB that the log may have [1024]"},
    {"snapshot-log", CONFIG_SIZE, FIELD(snapshot_log), 1 << 20, (uint64_t)1 << 40, "SIZE",
     "what the log grows by, at least, between two snapshots [64MiB]"},
    {"disk-low", CONFIG_SIZE, FIELD(disk_low), 0, (uint64_t)1 << 60, "SIZE",
     "a disk with less left is low; a low majority refuses writes [128MiB]"},
    {"max-watches", CONFIG_NUMBER, FIELD(max_watches), 1, 1000000, "N",
     "watches of all connections; more are refused [16384]"},
    {"watch-memory", CONFIG_SIZE, FIELD(watch_memory), 2 << 20, (uint64_t)1 << 30, "SIZE",
     "of the newest changes, which watches can go on from [16MiB]"},
    {"map-size", CONFIG_SIZE, FIELD(map_size), 16 << 20, (uint64_t)1 << 46, "SIZE",
     "what the table may grow to [16GiB]"},
    {"client-rate", CONFIG_NUMBER, FIELD(client_rate), 0, BUCKET_RATE_MAX, "N",
     "requests of one connection in a second; 0: no limit [0]"},
    {"client-burst", CONFIG_NUMBER, FIELD(client_burst), 1, BUCKET_BURST_MAX, "N",
     "the same at once, after a silence [1000]"},
    {"restore", CONFIG_PATH, FIELD(restore), 0, 0, "FILE",
     "found the cluster from a saved snapshot, the same on all nodes"},
    {"auth-file", CONFIG_PATH, FIELD(auth_file), 0, 0, "FILE",
     "lines `NAME TOKEN`: clients need one of them [all are served]"},
    {"yes-i-accept-loss", CONFIG_SWITCH, FIELD(accepts_loss), 0, 0, NULL,
     "recover: do it without asking"},
    {"dump", CONFIG_PATH, FIELD(dump), 0, 0, "DIR", "print the log in DIR as JSON lines and end"},
    {"version", CONFIG_SWITCH, FIELD(version), 0, 0, NULL, "print the version and end"},
    {"help", CONFIG_SWITCH, FIELD(help), 0, 0, NULL, "print this and end"},
};

_Static_assert(COUNT_OF(settings) <= CONFIG_SETTING_COUNT_MAX,
               "struct config remembers the source of every setting");

const struct config_setting *config_setting_find(struct bytes name)
{
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        if (bytes_equal(name, bytes_of_text(settings[i].name))) {
            return &settings[i];
        }
    }
    return NULL;
}

/* Insertions, deletions and replacements that make `a` into `b` (Levenshtein). */
static size_t edit_distance(struct bytes a, struct bytes b)
{
    size_t row[EDIT_NAME_SIZE_MAX + 1];

    a.size = size_min(a.size, EDIT_NAME_SIZE_MAX);
    b.size = size_min(b.size, EDIT_NAME_SIZE_MAX);
    for (size_t j = 0; j <= b.size; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a.size; i++) {
        size_t diagonal = row[0];

        row[0] = i;
        for (size_t j = 1; j <= b.size; j++) {
            size_t replaced = diagonal + (a.data[i - 1] == b.data[j - 1] ? 0 : 1);

            diagonal = row[j];
            row[j] = size_min(replaced, 1 + size_min(row[j], row[j - 1]));
        }
    }
    return row[b.size];
}

const struct config_setting *config_setting_nearest(struct bytes name)
{
    const struct config_setting *nearest = &settings[0];
    size_t distance_min = SIZE_MAX;

    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        size_t distance = edit_distance(name, bytes_of_text(settings[i].name));

        if (distance < distance_min) {
            distance_min = distance;
            nearest = &settings[i];
        }
    }
    return nearest;
}

/* --- Messages --------------------------------------------------------------------------------- */

void config_problem_begin(struct config_problem *problem, int exit_status, struct text *text)
{
    ASSERT(exit_status == CONFIG_EXIT_USAGE || exit_status == CONFIG_EXIT_INVALID);
    problem->exit_status = exit_status;
    text_init(text, problem->text, sizeof(problem->text));
}

void config_environment_name(const struct config_setting *setting, struct text *text)
{
    text_add(text, "HOLDFAST_");
    for (const char *at = setting->name; *at != '\0'; at++) {
        uint8_t shouted = *at == '-' ? (uint8_t)'_' : (uint8_t)(*at - 'a' + 'A');

        text_add_bytes(text, bytes_of(&shouted, 1));
    }
}

void config_place_add(const struct config_place *place, const struct config_setting *setting,
                      struct text *text)
{
    ASSERT(place->source != CONFIG_SOURCE_DEFAULT);
    if (place->source == CONFIG_SOURCE_FILE) {
        text_add(text, place->path);
        text_add(text, ":");
        text_add_u64(text, place->line);
        text_add(text, ": ");
    }
    if (setting == NULL) {
        return;
    }
    if (place->source == CONFIG_SOURCE_ENVIRONMENT) {
        text_add(text, "environment ");
        config_environment_name(setting, text);
    } else {
        text_add(text, place->source == CONFIG_SOURCE_FLAGS ? "--" : "");
        text_add(text, setting->name);
    }
    text_add(text, ": ");
}

/* One value on its way into the configuration. */
struct assignment {
    struct config *config;
    const struct config_setting *setting;
    struct bytes value;
    const struct config_place *place;
    struct config_problem *problem;
};

static bool refuse(const struct assignment *assignment, struct bytes what, const char *why)
{
    struct text text;

    config_problem_begin(assignment->problem, CONFIG_EXIT_INVALID, &text);
    config_place_add(assignment->place, assignment->setting, &text);
    text_add_quoted(&text, what);
    text_add(&text, " ");
    text_add(&text, why);
    return false;
}

/* --- Values ----------------------------------------------------------------------------------- */

static void *field_of(const struct assignment *assignment)
{
    return (char *)assignment->config + assignment->setting->offset;
}

static struct bytes trim(struct bytes value)
{
    while (value.size > 0 && (value.data[0] == ' ' || value.data[0] == '\t')) {
        value = bytes_skip(value, 1);
    }
    while (value.size > 0 &&
           (value.data[value.size - 1] == ' ' || value.data[value.size - 1] == '\t')) {
        value.size--;
    }
    return value;
}

static void copy_text(char *to, size_t capacity, struct bytes value)
{
    ASSERT_VALUES(value.size < capacity, value.size, capacity);
    memcpy(to, value.data, value.size);
    to[value.size] = '\0';
}

static bool is_name(struct bytes name)
{
    for (size_t i = 0; i < name.size; i++) {
        uint8_t byte = name.data[i];

        if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '-') {
            return false;
        }
    }
    return name.size >= 1 && name.size <= NODE_NAME_SIZE_MAX;
}

static bool is_address(struct bytes value)
{
    struct address address;

    return value.size < CONFIG_ADDRESS_SIZE && address_parse(value, &address);
}

static bool is_path(struct bytes value, size_t capacity)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < ' ') {
            return false;
        }
    }
    return value.size >= 1 && value.size < capacity;
}

static bool text_apply(const struct assignment *assignment)
{
    const struct config_setting *setting = assignment->setting;
    struct bytes value = assignment->value;

    if (setting->kind == CONFIG_NAME && !is_name(value)) {
        return refuse(assignment, value,
                      "is not a name: 1 to 32 of the letters a-z, digits and '-'");
    }
    if (setting->kind == CONFIG_ADDRESS && !is_address(value)) {
        return refuse(assignment, value,
                      "is not an address: write it as 127.0.0.1:7101, name:7101 or [::1]:7101");
    }
    if (setting->kind == CONFIG_PATH && !is_path(value, setting->capacity)) {
        return refuse(assignment, value, "is not a path that can be used");
    }
    copy_text(field_of(assignment), setting->capacity, value);
    return true;
}

/* Adds `name=address`; an entry of that name is replaced in a list of dials. */
static bool member_add(const struct assignment *assignment, struct config_members *members,
                       struct bytes item)
{
    size_t equals = 0;

    while (equals < item.size && item.data[equals] != '=') {
        equals++;
    }
    struct bytes name = trim(bytes_of(item.data, equals));
    struct bytes address = equals < item.size ? trim(bytes_skip(item, equals + 1)) : name;
    if (equals == item.size || !is_name(name) || !is_address(address)) {
        return refuse(assignment, item, "is not of the form n1=127.0.0.1:7201");
    }
    struct config_member member;
    copy_text(member.name, sizeof(member.name), name);
    copy_text(member.address, sizeof(member.address), address);
    uint32_t at = config_member_find(members, member.name);
    if (at < members->count && assignment->setting->kind == CONFIG_MEMBERS) {
        return refuse(assignment, name, "is named twice; every node has one entry");
    }
    if (at == NODE_MEMBER_COUNT_MAX) {
        return refuse(assignment, name, "is one too many: a cluster has at most 9 nodes");
    }
    members->items[at] = member;
    members->count += at == members->count ? 1 : 0;
    return true;
}

/* Entries are parted by commas; one may stand behind the last. */
static bool members_apply(const struct assignment *assignment, bool is_joined)
{
    struct config_members *members = field_of(assignment);
    struct bytes rest = assignment->value;

    if (!is_joined) {
        members->count = 0;
    }
    if (rest.size == 0) {
        return refuse(assignment, rest, "is not a list such as n1=127.0.0.1:7201,n2=...");
    }
    while (rest.size > 0) {
        size_t end = 0;

        while (end < rest.size && rest.data[end] != ',') {
            end++;
        }
        if (!member_add(assignment, members, trim(bytes_of(rest.data, end)))) {
            return false;
        }
        rest = trim(bytes_skip(rest, size_min(end + 1, rest.size)));
    }
    return true;
}

static bool number_refuse(const struct assignment *assignment)
{
    const struct config_setting *setting = assignment->setting;
    bool is_duration = setting->kind == CONFIG_DURATION;
    char low[DURATION_TEXT_SIZE];
    char high[DURATION_TEXT_SIZE];
    struct text text;

    config_problem_begin(assignment->problem, CONFIG_EXIT_INVALID, &text);
    config_place_add(assignment->place, setting, &text);
    text_add_quoted(&text, assignment->value);
    text_add(&text, is_duration ? " is not a duration such as 250ms or 1.5s, from "
                    : setting->kind == CONFIG_SIZE ? " is not a size such as 512MiB or 16GiB, from "
                                                   : " is not a number from ");
    if (is_duration) {
        text_add(&text, duration_to_text(setting->low, low));
        text_add(&text, " to ");
        text_add(&text, duration_to_text(setting->high, high));
        return false;
    }
    text_add_u64(&text, setting->low);
    text_add(&text, " to ");
    text_add_u64(&text, setting->high);
    return false;
}

/* "4096", "512MiB". */
static bool size_parse(struct bytes value, uint64_t *size)
{
    static const struct {
        const char *name;
        unsigned shift;
    } units[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}, {"", 0}};
    size_t digits = 0;

    while (digits < value.size && value.data[digits] >= '0' && value.data[digits] <= '9') {
        digits++;
    }
    if (!text_parse_u64(bytes_of(value.data, digits), size)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (bytes_equal(bytes_skip(value, digits), bytes_of_text(units[i].name))) {
            bool fits = *size <= UINT64_MAX >> units[i].shift;
            *size <<= units[i].shift;
            return fits;
        }
    }
    return false;
}

static bool number_apply(const struct assignment *assignment)
{
    const struct config_setting *setting = assignment->setting;
    struct bytes value = assignment->value;
    char text[DURATION_TEXT_SIZE + 1];
    uint64_t number;
    bool is_valid;

    ASSERT(setting->capacity == sizeof(uint64_t));
    if (setting->kind == CONFIG_DURATION) {
        is_valid = value.size < sizeof(text) && memchr(value.data, '\0', value.size) == NULL;
        if (is_valid) {
            copy_text(text, sizeof(text), value);
            is_valid = duration_parse(text, &number);
        }
    } else if (setting->kind == CONFIG_SIZE) {
        is_valid = size_parse(value, &number);
    } else {
        is_valid = text_parse_u64(value, &number);
    }
    if (!is_valid || number < setting->low || number > setting->high) {
        return number_refuse(assignment);
    }
    memcpy(field_of(assignment), &number, sizeof(number));
    return true;
}

static bool switch_apply(const struct assignment *assignment)
{
    if (assignment->place->source != CONFIG_SOURCE_FLAGS ||
        !bytes_equal(assignment->value, bytes_of_text("true"))) {
        return refuse(assignment, assignment->value, "has no place here: it is a flag alone");
    }
    *(bool *)field_of(assignment) = true;
    return true;
}

static bool value_apply(const struct assignment *assignment, bool is_first)
{
    const struct config_place *place = assignment->place;

    switch (assignment->setting->kind) {
    case CONFIG_NAME:
    case CONFIG_PATH:
    case CONFIG_ADDRESS:
        return text_apply(assignment);
    case CONFIG_MEMBERS:
        return members_apply(assignment, place->is_continued && !is_first);
    case CONFIG_DIALS:
        return members_apply(assignment, !is_first);
    case CONFIG_DURATION:
    case CONFIG_NUMBER:
    case CONFIG_SIZE:
        return number_apply(assignment);
    case CONFIG_SWITCH:
        return switch_apply(assignment);
    }
    UNREACHABLE();
}

bool config_setting_apply(struct config *config, const struct config_setting *setting,
                          struct bytes value, const struct config_place *place,
                          struct config_problem *problem)
{
    uint8_t *source = &config->sources[setting - settings];
    struct assignment assignment = {config, setting, trim(value), place, problem};
    bool is_list = setting->kind == CONFIG_MEMBERS || setting->kind == CONFIG_DIALS;

    ASSERT((size_t)(setting - settings) < COUNT_OF(settings));
    if (place->is_continued && !is_list) {
        return refuse(&assignment, assignment.value,
                      "begins with a space and so goes on with the line before; only lists may");
    }
    if (place->source == CONFIG_SOURCE_FILE && strcmp(setting->name, "config") == 0) {
        return refuse(&assignment, assignment.value, "cannot be named by another file");
    }
    if (*source > place->source) {
        return true;
    }
    bool is_first = *source < place->source;
    *source = (uint8_t)place->source;
    return value_apply(&assignment, is_first);
}

/* --- Help ------------------------------------------------------------------------------------- */

void config_help(struct text *text)
{
    text_add(text, "usage: holdfastd --name NAME --data DIR --client HOST:PORT --cluster LIST\n"
                   "       holdfastd --dump DIR\n"
                   "       holdfastd recover --data DIR [--yes-i-accept-loss]\n\n"
                   "Each setting is taken from its flag, else from the environment\n"
                   "(--election-min is HOLDFAST_ELECTION_MIN), else from the INI file.\n\n");
    for (size_t i = 0; i < COUNT_OF(settings); i++) {
        size_t start = text->size;

        text_add(text, "  --");
        text_add(text, settings[i].name);
        text_add(text, settings[i].value == NULL ? "" : " ");
        text_add(text, settings[i].value == NULL ? "" : settings[i].value);
        do {
            text_add(text, " ");
        } while (!text->truncated && text->size - start < 30);
        text_add(text, settings[i].help);
        text_add(text, "\n");
    }
    text_add(text, "\nDurations: 250ms, 1.5s, 2m. Exit status: 0 stopped by a signal, 1 cannot go\n"
                   "on, 64 unknown flag, 78 bad configuration.\n");
}
