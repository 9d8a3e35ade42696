/* server/dump.c: walks the batches, and their records through node/dump.h. */
#define _GNU_SOURCE /* NOLINT(bugprone-reserved-identifier): the C library's own switch. */
#include "server/dump.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/text.h"
#include "log/log.h"
#include "node/dump.h"
#include "node/identity.h"
#include "node/node.h"
#include "node/recovery.h"
#include "server/data_folder.h"
#include "server/disk_posix.h"
#include "server/folder.h"

enum { OUTPUT_SIZE = 1 << 16, MESSAGE_SIZE = 512 };

_Static_assert((int)OUTPUT_SIZE > (int)DUMP_LINE_SIZE_MAX, "a line fits into the output");

struct output {
    int descriptor;
    bool is_damaged; /* A damaged place was printed. */
    bool is_broken;  /* Nobody reads any more. */
    struct buffer buffer;
    uint8_t memory[OUTPUT_SIZE];
};

static void output_flush(struct output *output)
{
    if (!output->is_broken &&
        folder_write_all(output->descriptor, buffer_bytes(&output->buffer)) != ERR_OK) {
        output->is_broken = true;
    }
    output->buffer.size = 0;
}

static void output_reserve(struct output *output)
{
    if (buffer_room(&output->buffer) <= DUMP_LINE_SIZE_MAX) {
        output_flush(output);
    }
}

static void damage_print(struct output *output, const struct log_batch_view *view)
{
    char memory[MESSAGE_SIZE];
    struct text text;

    output->is_damaged = true;
    text_init(&text, memory, sizeof(memory));
    text_add(&text, "{\"problem\":");
    text_add_json(&text, bytes_of_text(error_text(view->error)));
    text_add(&text, ",\"file\":");
    text_add_json(&text, bytes_of_text(view->file.text));
    text_add(&text, ",\"offset\":");
    text_add_u64(&text, view->offset);
    text_add(&text, ",\"batch\":");
    text_add_u64(&text, view->sequence);
    text_add(&text, "}\n");
    output_reserve(output);
    ASSERT(buffer_append(&output->buffer, bytes_of(text.data, text.size)));
}

static void batch_print(struct output *output, const struct log_batch_view *view)
{
    struct bytes records = view->records;

    if (view->error != ERR_OK) {
        damage_print(output, view);
        return;
    }
    output_reserve(output);
    while (dump_record(&records, &output->buffer)) {
        ASSERT(buffer_append(&output->buffer, bytes_of_text("\n")));
        output_reserve(output);
    }
}

static int refuse(const char *folder, const char *why)
{
    char memory[MESSAGE_SIZE];
    struct text text;

    text_init(&text, memory, sizeof(memory));
    text_add(&text, "holdfastd: --dump ");
    text_add(&text, folder);
    text_add(&text, ": ");
    text_add(&text, why);
    text_add(&text, "\n");
    /* Of a line that nobody can read there is nobody to tell. */
    enum error unheard = folder_write_all(STDERR_FILENO, bytes_of(text.data, text.size));
    (void)unheard;
    return 1;
}

/* The sizes of the log that a node of this version writes; whose it is does not matter. */
static void options_fill(struct log_options *log_options)
{
    struct node_options options;
    struct identity identity;

    node_options_init(&options);
    memset(&identity, 0, sizeof(identity));
    recovery_log_options(&options, &identity, log_options);
}

static int disk_print(const char *folder, struct disk *disk, struct output *output)
{
    struct log_options options;
    struct log_dump *dump;
    struct log_batch_view view;
    struct arena arena;

    options_fill(&options);
    size_t size = log_dump_memory_size(&options);
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return refuse(folder, "there is no memory");
    }
    arena_init(&arena, memory, size);
    enum error error = log_dump_open(&dump, &arena, &options, disk);
    if (error == ERR_OK) {
        while (!output->is_broken && log_dump_next(dump, &view)) {
            batch_print(output, &view);
        }
        output_flush(output);
    }
    (void)munmap(memory, size);
    if (error != ERR_OK) {
        return refuse(folder, error_text(error));
    }
    return output->is_damaged || output->is_broken ? 1 : 0;
}

int dump_print(const char *folder, int descriptor)
{
    struct disk *disk;
    struct output *output;
    enum error error = data_folder_check(folder);
    int status;

    if (error != ERR_OK) {
        return refuse(folder, error == ERR_MISSING
                                  ? "there is no data folder of a node"
                                  : "it was written by another version or program");
    }
    error = disk_posix_open(&disk, folder, NULL);
    if (error != ERR_OK) {
        return refuse(folder, strerror(errno));
    }
    output = malloc(sizeof(*output));
    if (output == NULL) {
        status = refuse(folder, "there is no memory");
        goto undo_disk;
    }
    output->descriptor = descriptor;
    output->is_damaged = false;
    output->is_broken = false;
    output->buffer = buffer_of(output->memory, sizeof(output->memory));
    status = disk_print(folder, disk, output);
    free(output);

undo_disk:
    disk_posix_close(disk);
    return status;
}
