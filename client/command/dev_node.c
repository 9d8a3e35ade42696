/* client/command/dev_node.c: folders and processes of the nodes of `holdfast dev`. */
#define _GNU_SOURCE
#include "client/command/dev_node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "client/command/output.h"

enum {
    PATH_ROOM = DEV_PATH_SIZE + 32, /* DIR and what stands in it. */
    PEER_PORT_STEP = 10,
    ARGUMENT_COUNT_MAX = 12,
};

void dev_place_find_server(struct dev_place *place)
{
    char path[DEV_PATH_SIZE];
    ssize_t size = readlink("/proc/self/exe", path, sizeof(path) - 1);
    char *slash = NULL;

    if (size > 0) {
        path[size] = '\0';
        slash = strrchr(path, '/');
    }
    if (slash != NULL) {
        *slash = '\0';
        int written = snprintf(place->server, sizeof(place->server), "%s/holdfastd", path);
        if (written > 0 && written < (int)sizeof(place->server) &&
            access(place->server, X_OK) == 0) {
            return;
        }
    }
    snprintf(place->server, sizeof(place->server), "holdfastd");
}

void dev_place_client(const struct dev_place *place, uint32_t number, char out[DEV_ADDRESS_SIZE])
{
    ASSERT(number >= 1 && number <= DEV_NODE_COUNT_MAX);
    snprintf(out, DEV_ADDRESS_SIZE, "127.0.0.1:%" PRIu32, place->port + number);
}

static void peer_address(const struct dev_place *place, uint32_t number, char out[DEV_ADDRESS_SIZE])
{
    snprintf(out, DEV_ADDRESS_SIZE, "127.0.0.1:%" PRIu32, place->port + PEER_PORT_STEP + number);
}

void dev_place_endpoints(const struct dev_place *place, char out[DEV_LIST_SIZE])
{
    size_t size = 0;

    for (uint32_t number = 1; number <= place->node_count; number++) {
        char address[DEV_ADDRESS_SIZE];

        dev_place_client(place, number, address);
        int added =
            snprintf(out + size, DEV_LIST_SIZE - size, "%s%s", number == 1 ? "" : ",", address);
        ASSERT(added > 0);
        size += (size_t)added;
    }
    ASSERT(size < DEV_LIST_SIZE);
}

static void cluster_list(const struct dev_place *place, char out[DEV_LIST_SIZE])
{
    size_t size = 0;

    for (uint32_t number = 1; number <= place->node_count; number++) {
        char address[DEV_ADDRESS_SIZE];

        peer_address(place, number, address);
        int added = snprintf(out + size, DEV_LIST_SIZE - size, "%sn%" PRIu32 "=%s",
                             number == 1 ? "" : ",", number, address);
        ASSERT(added > 0);
        size += (size_t)added;
    }
    ASSERT(size < DEV_LIST_SIZE);
}

static void node_path(const struct dev_place *place, uint32_t number, const char *file,
                      char out[PATH_ROOM])
{
    int size = snprintf(out, PATH_ROOM, "%s/n%" PRIu32 "%s", place->dir, number, file);

    ASSERT(size > 0 && size < PATH_ROOM);
}

uint32_t dev_place_count_nodes(const struct dev_place *place)
{
    uint32_t count = 0;
    char path[PATH_ROOM];

    while (count < DEV_NODE_COUNT_MAX) {
        node_path(place, count + 1, "/data", path);
        if (access(path, F_OK) != 0) {
            break;
        }
        count++;
    }
    return count;
}

bool dev_write_file(const char *path, const char *content)
{
    char temporary[PATH_ROOM + 8];
    size_t size = strlen(content);
    int written = snprintf(temporary, sizeof(temporary), "%s.new", path);

    ASSERT(written > 0 && written < (int)sizeof(temporary));
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

    if (fd < 0) {
        return false;
    }
    bool done = write(fd, content, size) == (ssize_t)size;

    done = close(fd) == 0 && done;
    return done && rename(temporary, path) == 0;
}

static _Noreturn void server_main(const struct dev_place *place, uint32_t number, int log_fd,
                                  pid_t parent)
{
    char name[8];
    char data[PATH_ROOM];
    char client[DEV_ADDRESS_SIZE];
    char peer[DEV_ADDRESS_SIZE];
    char cluster[DEV_LIST_SIZE];
    char server[DEV_PATH_SIZE];
    char flags[5][12] = {"--name", "--data", "--client", "--peer", "--cluster"};
    sigset_t none;

    /* Its own group: an interrupt from the keyboard is for `dev`, which stops nodes in order. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1);
    }
    for (int signal_number = 1; signal_number < SIGRTMIN; signal_number++) {
        if (signal_number != SIGKILL && signal_number != SIGSTOP) {
            signal(signal_number, SIG_DFL);
        }
    }
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    int null_fd = open("/dev/null", O_RDONLY);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(log_fd, STDOUT_FILENO) < 0 ||
        dup2(log_fd, STDERR_FILENO) < 0) {
        _exit(1);
    }
    snprintf(name, sizeof(name), "n%" PRIu32, number);
    snprintf(server, sizeof(server), "%s", place->server);
    node_path(place, number, "/data", data);
    dev_place_client(place, number, client);
    peer_address(place, number, peer);
    cluster_list(place, cluster);
    char *const arguments[ARGUMENT_COUNT_MAX] = {server, flags[0], name,    flags[1],
                                                 data,   flags[2], client,  flags[3],
                                                 peer,   flags[4], cluster, NULL};

    execvp(server, arguments);
    fprintf(stderr, "cannot run %s: %s\n", server, strerror(errno));
    _exit(1);
}

static bool make_folders(const struct dev_place *place, uint32_t number)
{
    char path[PATH_ROOM];

    node_path(place, number, "", path);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    node_path(place, number, "/data", path);
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

/* Somebody else's node there would answer in the name of ours. */
static bool port_is_free(uint32_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)port),
                                        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool is_free = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                   bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0;

    if (!is_free) {
        complain("127.0.0.1:%" PRIu32 ": %s; stop what listens there, or give another --port", port,
                 strerror(errno));
    }
    if (fd >= 0) {
        close(fd);
    }
    return is_free;
}

bool dev_node_start(struct dev_node *node, const struct dev_place *place)
{
    char path[PATH_ROOM];
    char digits[24];

    ASSERT(node->pid == 0);
    bool can_start = port_is_free(place->port + node->number) &&
                     port_is_free(place->port + PEER_PORT_STEP + node->number) &&
                     make_folders(place, node->number);

    if (!can_start) {
        return false;
    }
    node_path(place, node->number, "/log", path);
    int log_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log_fd < 0) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    pid_t parent = getpid();
    sigset_t all;
    sigset_t mask;

    /* No handler of the parent may run in the child. */
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &mask);
    pid_t pid = fork();
    if (pid == 0) {
        server_main(place, node->number, log_fd, parent);
    }
    sigprocmask(SIG_SETMASK, &mask, NULL);
    close(log_fd);
    if (pid < 0) {
        complain("cannot start a process: %s", strerror(errno));
        return false;
    }
    node->pid = pid;
    node_path(place, node->number, "/pid", path);
    snprintf(digits, sizeof(digits), "%d\n", (int)pid);
    if (!dev_write_file(path, digits)) {
        complain("%s: %s", path, strerror(errno));
        return false;
    }
    return true;
}

void dev_node_signal(const struct dev_node *node, int number)
{
    if (node->pid != 0) {
        kill(node->pid, number);
        kill(node->pid, SIGCONT);
    }
}

bool dev_node_reap(struct dev_node *node, char how[DEV_LINE_SIZE])
{
    int status = 0;

    if (node->pid == 0 || waitpid(node->pid, &status, WNOHANG) != node->pid) {
        return false;
    }
    node->pid = 0;
    snprintf(how, DEV_LINE_SIZE, WIFSIGNALED(status) ? "signal %d" : "exit %d",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return true;
}

void dev_node_last_line(const struct dev_node *node, const struct dev_place *place,
                        char line[DEV_LINE_SIZE])
{
    char path[PATH_ROOM];
    char tail[DEV_LINE_SIZE];

    line[0] = '\0';
    node_path(place, node->number, "/log", path);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    off_t end = lseek(fd, 0, SEEK_END);
    off_t begin = end > (off_t)sizeof(tail) - 1 ? end - ((off_t)sizeof(tail) - 1) : 0;
    ssize_t size = pread(fd, tail, sizeof(tail) - 1, begin);

    close(fd);
    while (size > 0 && tail[size - 1] == '\n') {
        size--;
    }
    if (size <= 0) {
        return;
    }
    tail[size] = '\0';
    const char *last = strrchr(tail, '\n');

    snprintf(line, DEV_LINE_SIZE, "%s", last == NULL ? tail : last + 1);
}
