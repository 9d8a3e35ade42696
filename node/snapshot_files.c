/* node/snapshot_files.c: which snapshot files there are, and the removal of those that go. */
#include "base/assert.h"
#include "node/snapshot_internal.h"

size_t snapshots_files_memory_size(void)
{
    return arena_cost(1, SNAPSHOT_HEAD_SIZE_MAX + DISK_ALIGNMENT);
}

/* --- Opening ---------------------------------------------------------------------------------- */

static enum error look_at_end(struct snapshots *snapshots, const struct disk_name *name,
                              raft_index index, uint64_t size, struct snapshot_end *end)
{
    uint8_t *page = snapshots->files.page;
    uint64_t size_read;

    if (size < SNAPSHOT_FILE_SIZE_MIN || size % DISK_ALIGNMENT != 0) {
        return ERR_CORRUPT;
    }
    enum error error = disk_read(snapshots->disk, name, size - SNAPSHOT_END_SIZE, page,
                                 SNAPSHOT_END_SIZE, &size_read);
    if (error != ERR_OK) {
        return error;
    }
    error = snapshot_read_end(page, index, end);
    if (error != ERR_OK) {
        return error;
    }
    return end->file_size == size ? ERR_OK : ERR_CORRUPT;
}

/* The configuration is borrowed from the page. */
static enum error look_at_head(struct snapshots *snapshots, const struct disk_name *name,
                               raft_index index, struct snapshot_base *base)
{
    uint8_t *page = snapshots->files.page;
    struct snapshot_chain chain = {.index = index};
    struct snapshot_block_view head;
    uint64_t size_read;
    enum error error =
        disk_read(snapshots->disk, name, 0, page, SNAPSHOT_HEAD_SIZE_MAX, &size_read);

    if (error != ERR_OK) {
        return error;
    }
    error = snapshot_read_block(&chain, bytes_of(page, (size_t)size_read), &head);
    if (error != ERR_OK) {
        return error == ERR_INCOMPLETE ? ERR_CORRUPT : error;
    }
    error = snapshot_read_head(head.body, index, base);
    if (error != ERR_OK) {
        return error;
    }
    bool is_ours = memcmp(base->cluster, snapshots->options.cluster, SNAPSHOT_CLUSTER_SIZE) == 0;
    return is_ours ? ERR_OK : ERR_WRONG_CLUSTER;
}

/* Head and end of a file: what lies between is for those who load it. */
static enum error look_at(struct snapshots *snapshots, const struct disk_name *name,
                          raft_index index, struct snapshot_file *file, struct snapshot_base *base)
{
    struct snapshot_end end = {0};
    uint64_t size;
    enum error error = disk_size(snapshots->disk, name, &size);

    *file = (struct snapshot_file){.index = index};
    if (error != ERR_OK) {
        return error;
    }
    error = look_at_end(snapshots, name, index, size, &end);
    if (error != ERR_OK) {
        return error;
    }
    error = look_at_head(snapshots, name, index, base);
    if (error != ERR_OK) {
        return error;
    }
    *file = (struct snapshot_file){.index = index,
                                   .term = base->term,
                                   .size = size,
                                   .id = end.checksum,
                                   .pair_count = end.pair_count};
    return base->state_hash == end.hash ? ERR_OK : ERR_CORRUPT;
}

/* ERR_IO when the disk fails; a file that is no good is only told of. */
static enum error open_whole(struct snapshots *snapshots, const struct disk_name *name,
                             raft_index index)
{
    struct snapshot_base base = {.index = index};
    struct snapshot_file file;
    enum error error = look_at(snapshots, name, index, &file, &base);

    if (error == ERR_OK) {
        snapshots_files_add(snapshots, &file, &base);
        return ERR_OK;
    }
    snapshots_tell(snapshots, SNAPSHOT_REFUSED, index, error, 0, name);
    if (error == ERR_CORRUPT) {
        base = (struct snapshot_base){.index = index};
        snapshots_files_add(snapshots, &file, &base);
        snapshots_files_refuse(snapshots, index);
    }
    if (error == ERR_VERSION && index > snapshots->files.foreign_index) {
        snapshots->files.foreign_index = index;
    }
    /* Of another cluster or version: not ours to remove. */
    return error == ERR_CORRUPT || error == ERR_WRONG_CLUSTER || error == ERR_VERSION ? ERR_OK
                                                                                      : error;
}

/* The newest part may be gone on with; what else was not finished is removed. */
static enum error open_part(struct snapshots *snapshots, const struct disk_name *name,
                            raft_index index)
{
    struct receive *receive = &snapshots->receive;
    uint64_t size;
    enum error error = disk_size(snapshots->disk, name, &size);

    if (error != ERR_OK) {
        return error;
    }
    if (receive->part_index != 0) {
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_PART, receive->part_index);
    }
    receive->part_index = index;
    receive->part_size = size - size % DISK_ALIGNMENT;
    return ERR_OK;
}

enum error snapshots_files_open(struct snapshots *snapshots, struct arena *arena)
{
    struct disk_name names[NAME_COUNT_MAX];
    uint32_t count;

    snapshots->files.page = arena_take_aligned(arena, SNAPSHOT_HEAD_SIZE_MAX, DISK_ALIGNMENT);
    enum error error = disk_list(snapshots->disk, "snap-", names, NAME_COUNT_MAX, &count);
    for (uint32_t i = 0; error == ERR_OK && i < count; i++) {
        raft_index index = 0;

        switch (snapshot_name_parse(&names[i], &index)) {
        case SNAPSHOT_NAME_OTHER:
            break;
        case SNAPSHOT_NAME_WHOLE:
            error = open_whole(snapshots, &names[i], index);
            break;
        case SNAPSHOT_NAME_NEW:
            snapshots_files_remove(snapshots, SNAPSHOT_NAME_NEW, index);
            break;
        case SNAPSHOT_NAME_PART:
            error = open_part(snapshots, &names[i], index);
            break;
        }
    }
    const struct snapshot_file *newest = snapshots_newest(snapshots);
    if (error == ERR_OK && newest != NULL) {
        snapshots_receive_overtaken(snapshots, newest->index);
    }
    return error;
}

/* --- Which there are -------------------------------------------------------------------------- */

static struct kept *find_any(struct snapshots *snapshots, raft_index index)
{
    for (uint32_t i = 0; i < snapshots->files.kept_count; i++) {
        if (snapshots->files.kept[i].file.index == index) {
            return &snapshots->files.kept[i];
        }
    }
    return NULL;
}

struct kept *snapshots_files_find(struct snapshots *snapshots, raft_index index)
{
    struct kept *kept = find_any(snapshots, index);

    return kept == NULL || kept->is_refused ? NULL : kept;
}

static void set_base(struct kept *kept, const struct snapshot_base *base)
{
    ASSERT_VALUES(base->configuration.size <= SNAPSHOT_CONFIGURATION_SIZE_MAX,
                  base->configuration.size, base->index);
    kept->base = *base;
    if (base->configuration.size != 0) {
        memcpy(kept->configuration, base->configuration.data, base->configuration.size);
    }
}

/* The configuration lies in `kept` itself, which moves. */
static struct snapshot_base base_of(const struct kept *kept)
{
    struct snapshot_base base = kept->base;

    base.configuration = bytes_of(kept->configuration, base.configuration.size);
    return base;
}

static void forget(struct files *files, uint32_t at)
{
    ASSERT(at < files->kept_count && files->kept[at].pin_count == 0);
    files->kept_count--;
    memmove(&files->kept[at], &files->kept[at + 1],
            (files->kept_count - at) * sizeof(files->kept[0]));
}

/* Room for one more, at the cost of the oldest that nobody reads: there is one, as there are fewer
 * senders than places. */
static void make_room(struct snapshots *snapshots)
{
    struct files *files = &snapshots->files;
    uint32_t at = 0;

    if (files->kept_count < KEPT_COUNT_MAX) {
        return;
    }
    while (files->kept[at].pin_count != 0) {
        at++;
        ASSERT(at < files->kept_count);
    }
    snapshots_files_remove(snapshots, SNAPSHOT_NAME_WHOLE, files->kept[at].file.index);
    forget(files, at);
}

void snapshots_files_add(struct snapshots *snapshots, const struct snapshot_file *file,
                         const struct snapshot_base *base)
{
    struct files *files = &snapshots->files;
    struct kept *kept = find_any(snapshots, file->index);

    ASSERT(base->index == file->index);
    if (kept == NULL) {
        uint32_t at = 0;

        make_room(snapshots);
        while (at < files->kept_count && files->kept[at].file.index < file->index) {
            at++;
        }
        kept = &files->kept[at];
        memmove(kept + 1, kept, (files->kept_count - at) * sizeof(*kept));
        files->kept_count++;
        kept->pin_count = 0;
    }
    kept->file = *file;
    kept->is_refused = false;
    set_base(kept, base);
}

void snapshots_files_refuse(struct snapshots *snapshots, raft_index index)
{
    struct kept *kept = find_any(snapshots, index);

    ASSERT(kept != NULL);
    kept->is_refused = true;
}

void snapshots_discard(struct snapshots *snapshots)
{
    struct files *files = &snapshots->files;

    for (uint32_t i = 0; i < files->kept_count; i++) {
        files->kept[i].is_refused = true;
    }
    snapshots_files_trim(snapshots, KEEP_COUNT);
}

const struct snapshot_file *snapshots_newest_below(const struct snapshots *snapshots,
                                                   raft_index index)
{
    const struct files *files = &snapshots->files;

    for (uint32_t i = files->kept_count; i-- > 0;) {
        if (!files->kept[i].is_refused && files->kept[i].file.index < index) {
            return &files->kept[i].file;
        }
    }
    return NULL;
}

const struct snapshot_file *snapshots_newest(const struct snapshots *snapshots)
{
    return snapshots_newest_below(snapshots, UINT64_MAX);
}

raft_index snapshots_of_another_version(const struct snapshots *snapshots)
{
    return snapshots->files.foreign_index;
}

struct snapshot_base snapshots_base(const struct snapshots *snapshots,
                                    const struct snapshot_file *file)
{
    const struct kept *kept = (const struct kept *)file;

    ASSERT(kept >= snapshots->files.kept &&
           kept < snapshots->files.kept + snapshots->files.kept_count);
    return base_of(kept);
}

_Static_assert(offsetof(struct kept, file) == 0, "a kept file begins with its file");
_Static_assert((int)KEPT_COUNT_MAX > (int)SNAPSHOT_READER_COUNT_MAX + (int)KEEP_COUNT,
               "one is always free to go");

/* --- Removal ---------------------------------------------------------------------------------- */

void snapshots_files_remove(struct snapshots *snapshots, enum snapshot_name_kind kind,
                            raft_index index)
{
    struct files *files = &snapshots->files;

    if (files->removal_count == REMOVAL_COUNT_MAX) {
        return; /* The next opening finds it. */
    }
    snapshot_name(
        &files->removals[(files->removal_first + files->removal_count) % REMOVAL_COUNT_MAX], kind,
        index);
    files->removal_count++;
}

void snapshots_files_trim(struct snapshots *snapshots, uint32_t keep_count)
{
    struct files *files = &snapshots->files;
    uint32_t whole_count = 0;

    for (uint32_t i = files->kept_count; i-- > 0;) {
        struct kept *kept = &files->kept[i];

        whole_count += kept->is_refused ? 0 : 1;
        if (kept->pin_count != 0 || (!kept->is_refused && whole_count <= keep_count)) {
            continue;
        }
        snapshots_files_remove(snapshots, SNAPSHOT_NAME_WHOLE, kept->file.index);
        forget(files, i);
    }
}

bool snapshots_files_are_removing(const struct snapshots *snapshots, raft_index index)
{
    const struct files *files = &snapshots->files;

    for (uint32_t i = 0; i < files->removal_count; i++) {
        const struct disk_name *name =
            &files->removals[(files->removal_first + i) % REMOVAL_COUNT_MAX];
        raft_index found = 0;

        if (snapshot_name_parse(name, &found) != SNAPSHOT_NAME_OTHER && found == index) {
            return true;
        }
    }
    return false;
}

void snapshots_files_advance(struct snapshots *snapshots)
{
    struct files *files = &snapshots->files;

    if (files->removal_count == 0 || files->is_removing) {
        return;
    }
    struct disk_request request = {.operation = DISK_REMOVE,
                                   .name = files->removals[files->removal_first]};
    files->is_removing = true;
    snapshots_submit(snapshots, PURPOSE_REMOVE, 0, &request);
}

void snapshots_files_completed(struct snapshots *snapshots, enum error error)
{
    struct files *files = &snapshots->files;
    const struct disk_name *name = &files->removals[files->removal_first];
    raft_index index = 0;

    ASSERT(files->is_removing && files->removal_count > 0);
    (void)snapshot_name_parse(name, &index);
    snapshots_tell(snapshots, SNAPSHOT_REMOVED, index, error, 0, name);
    files->is_removing = false;
    files->removal_first = (files->removal_first + 1) % REMOVAL_COUNT_MAX;
    files->removal_count--;
}
