/* client/command/dev_control.c: both ends of the socket DIR/control. */
#define _GNU_SOURCE
#include "client/command/dev_control.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "client/command/clock.h"
#include "client/command/run.h"

enum { BACKLOG = 8, REPLY_TIMEOUT_MS = 40000, PATIENCE_MS = 2000, CONTROL_PATH_SIZE = 64 };

/* Through the open folder: the path of a socket has 107 bytes at most, that of a folder has not. */
static void control_path(int dir_fd, char path[CONTROL_PATH_SIZE])
{
    ASSERT(dir_fd >= 0);
    snprintf(path, CONTROL_PATH_SIZE, "/proc/self/fd/%d/control", dir_fd);
}

/* --- In `dev` -----------------------------------------------------------------------------------
 */

static void accept_one(struct dev_control *control);

static void asker_closed(uv_handle_t *handle)
{
    struct dev_asker *asker = handle->data;

    asker->is_open = false;
    if (asker->control->has_one_more && asker->control->is_listening) {
        accept_one(asker->control);
    }
}

static void close_asker(struct dev_asker *asker)
{
    if (!uv_is_closing((uv_handle_t *)&asker->pipe)) {
        uv_close((uv_handle_t *)&asker->pipe, asker_closed);
    }
}

static void replied(uv_write_t *write, int status)
{
    (void)status;
    close_asker(write->data);
}

void dev_control_reply(struct dev_asker *asker, const char *reply)
{
    bool is_gone = !asker->is_waiting || uv_is_closing((uv_handle_t *)&asker->pipe);

    asker->is_waiting = false;
    if (is_gone) {
        return;
    }
    snprintf(asker->reply, sizeof(asker->reply), "%s\n", reply);
    uv_buf_t buffer = uv_buf_init(asker->reply, (unsigned)strlen(asker->reply));

    asker->write.data = asker;
    if (uv_write(&asker->write, (uv_stream_t *)&asker->pipe, &buffer, 1, replied) != 0) {
        close_asker(asker);
    }
}

static void take_request(struct dev_asker *asker)
{
    static const char verb[] = "restart ";
    size_t verb_size = sizeof(verb) - 1;
    const char *end = memchr(asker->request, '\n', asker->request_size);
    uint64_t number = 0;

    if (end == NULL && asker->request_size < sizeof(asker->request)) {
        return;
    }
    asker->is_waiting = true;
    struct bytes line = bytes_of(asker->request, end == NULL ? 0 : (size_t)(end - asker->request));
    bool is_restart = bytes_has_prefix(line, bytes_of_text(verb)) &&
                      text_parse_u64(bytes_skip(line, verb_size), &number) && number != 0;

    if (!is_restart && !bytes_equal(line, bytes_of_text("add"))) {
        dev_control_reply(asker, "this dev does not know the request");
        return;
    }
    asker->control->request(asker->control->context, asker, number);
}

static void give_memory(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct dev_asker *asker = handle->data;

    (void)suggested;
    *buffer = uv_buf_init(asker->request + asker->request_size,
                          (unsigned)(sizeof(asker->request) - asker->request_size));
}

static void received(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct dev_asker *asker = stream->data;

    (void)buffer;
    if (size < 0 && asker->is_waiting) {
        /* Its place stays taken until the answer, which nobody reads, was sent. */
        uv_read_stop(stream);
    } else if (size < 0) {
        close_asker(asker);
    } else if (!asker->is_waiting) {
        asker->request_size += (size_t)size;
        take_request(asker);
    }
}

static void accept_one(struct dev_control *control)
{
    control->has_one_more = false;
    for (size_t i = 0; i < DEV_ASKER_COUNT_MAX; i++) {
        struct dev_asker *asker = &control->askers[i];

        if (asker->is_open) {
            continue;
        }
        *asker = (struct dev_asker){.control = control, .is_open = true};
        uv_pipe_init(control->listener.loop, &asker->pipe, 0);
        asker->pipe.data = asker;
        if (uv_accept((uv_stream_t *)&control->listener, (uv_stream_t *)&asker->pipe) != 0 ||
            uv_read_start((uv_stream_t *)&asker->pipe, give_memory, received) != 0) {
            close_asker(asker);
        }
        return;
    }
    /* All places are taken: libuv keeps the connection, and no more, until one is free. */
    control->has_one_more = true;
}

static void connected(uv_stream_t *listener, int status)
{
    if (status == 0) {
        accept_one(listener->data);
    }
}

bool dev_control_open(struct dev_control *control, uv_loop_t *loop, int dir_fd,
                      dev_control_request request, void *context, int *error)
{
    char path[CONTROL_PATH_SIZE];

    control->request = request;
    control->context = context;
    uv_pipe_init(loop, &control->listener, 0);
    control->listener.data = control;
    control->is_listening = true;
    control_path(dir_fd, path);
    unlink(path);
    *error = uv_pipe_bind(&control->listener, path);
    if (*error == 0) {
        *error = uv_listen((uv_stream_t *)&control->listener, BACKLOG, connected);
    }
    return *error == 0;
}

void dev_control_close(struct dev_control *control)
{
    for (size_t i = 0; i < DEV_ASKER_COUNT_MAX; i++) {
        if (control->askers[i].is_open) {
            close_asker(&control->askers[i]);
        }
    }
    if (control->is_listening) {
        control->is_listening = false;
        uv_close((uv_handle_t *)&control->listener, NULL);
    }
}

/* --- In `dev restart` and `dev add` ----------------------------------------------------------- */

static int connect_control(const char *dir)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char path[CONTROL_PATH_SIZE];
    int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (dir_fd < 0) {
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    control_path(dir_fd, path);
    memcpy(address.sun_path, path, sizeof(path));
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        close(fd);
        fd = -1;
    }
    close(dir_fd);
    return fd;
}

/* Reads up to the end of the answer. False when it does not come in time. */
static bool read_reply(int fd, char reply[DEV_REPLY_SIZE])
{
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    uint64_t begin_ms = clock_now_ms();
    size_t size = 0;
    bool is_patient = false;

    while (size < DEV_REPLY_SIZE - 1) {
        uint64_t passed_ms = clock_now_ms() - begin_ms;

        if (passed_ms >= REPLY_TIMEOUT_MS) {
            return false;
        }
        if (passed_ms >= PATIENCE_MS && !is_patient && isatty(STDERR_FILENO) == 1) {
            is_patient = true;
            complain("waiting for the node");
        }
        uint64_t until_ms = passed_ms < PATIENCE_MS ? PATIENCE_MS : REPLY_TIMEOUT_MS;
        if (poll(&waiting, 1, (int)(until_ms - passed_ms)) <= 0) {
            continue;
        }
        ssize_t received_size = read(fd, reply + size, DEV_REPLY_SIZE - 1 - size);

        if (received_size < 0 && errno != EINTR) {
            return false;
        }
        if (received_size == 0) {
            break;
        }
        size += received_size > 0 ? (size_t)received_size : 0;
    }
    while (size > 0 && reply[size - 1] == '\n') {
        size--;
    }
    reply[size] = '\0';
    return size > 0;
}

/* Sends the request to the dev in --dir. False after a message, with anything but "ok" or "ok ...".
 */
static bool ask_dev(const struct run *run, const char *request, char reply[DEV_REPLY_SIZE])
{
    const struct options *options = run->options;
    size_t size = strlen(request);
    int fd = connect_control(options->dir);

    if (fd < 0) {
        complain("no dev runs in %s (%s); start one with `holdfast dev --dir %s`", options->dir,
                 strerror(errno), options->dir);
        return false;
    }
    bool is_answered = write(fd, request, size) == (ssize_t)size && read_reply(fd, reply);

    close(fd);
    if (!is_answered) {
        complain("the dev in %s does not answer", options->dir);
        return false;
    }
    if (strcmp(reply, "ok") != 0 && strncmp(reply, "ok ", 3) != 0) {
        complain("%s", reply);
        return false;
    }
    return true;
}

static void print_node(struct run *run, const char *name)
{
    if (run->options->json) {
        text_add(&run->output.text, "{");
        output_text(&run->output, "node", name);
        text_add(&run->output.text, "}");
        output_line(&run->output);
    }
}

int dev_restart_run(struct run *run)
{
    uint64_t number = 0;
    char request[DEV_REQUEST_SIZE];
    char reply[DEV_REPLY_SIZE];
    char name[DEV_REQUEST_SIZE];
    bool is_number = text_parse_u64(bytes_of_text(run->options->operands[0]), &number);

    ASSERT(is_number);
    snprintf(request, sizeof(request), "restart %" PRIu64 "\n", number);
    if (!ask_dev(run, request, reply)) {
        return EXIT_REFUSED;
    }
    snprintf(name, sizeof(name), "n%" PRIu64, number);
    print_node(run, name);
    return EXIT_DONE;
}

int dev_add_run(struct run *run)
{
    char reply[DEV_REPLY_SIZE];

    if (!ask_dev(run, "add\n", reply)) {
        return EXIT_REFUSED;
    }
    const char *name = strlen(reply) > 3 ? reply + 3 : "";

    if (!run->options->json) {
        text_add(&run->output.text, name);
        output_line(&run->output);
    }
    print_node(run, name);
    return EXIT_DONE;
}
