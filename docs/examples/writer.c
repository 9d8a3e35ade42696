/* docs/examples/writer.c: why a resource must look at the token, shown with one that does and one
 * that does not.
 *
 * The first holder takes the lock and is held up before its write: by a long pause, a slow network,
 * anything. Meanwhile its session ends, and the next holder takes the lock and writes. Then the
 * first one's write arrives.
 *
 * cc -o writer docs/examples/writer.c $(pkg-config --cflags --libs holdfast)
 * ./writer ENDPOINTS FOLDER                  0: the late write was refused
 * ./writer ENDPOINTS FOLDER --ignore-token   1: it went through, and the newer value is gone */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <holdfast.h>
#include <holdfast_fence.h>

enum { PATH_SIZE = 512 };

/* --- The resource: one value in a file -------------------------------------------------------- */

struct resource {
    char path[PATH_SIZE];
    struct holdfast_fence_file *fence; /* NULL: it does not look at tokens. */
};

/* A resource with many clients would hold a lock of its own around all of this. */
static bool resource_write(struct resource *resource, const char *value, uint64_t token)
{
    if (resource->fence != NULL &&
        holdfast_fence_file_accept(resource->fence, token) != HOLDFAST_FENCE_ACCEPTED) {
        (void)printf("refused: %s with token %" PRIu64 "\n", value, token);
        return false;
    }
    FILE *file = fopen(resource->path, "we");
    if (file == NULL) {
        return false;
    }
    (void)fprintf(file, "%s\n", value);
    (void)printf("written: %s with token %" PRIu64 "\n", value, token);
    return fclose(file) == 0;
}

static bool resource_has(const struct resource *resource, const char *value)
{
    char found[64] = "";
    FILE *file = fopen(resource->path, "re");

    if (file != NULL) {
        if (fgets(found, sizeof found, file) == NULL) {
            found[0] = '\0';
        }
        (void)fclose(file);
    }
    found[strcspn(found, "\n")] = '\0';
    return strcmp(found, value) == 0;
}

/* --- The two holders -------------------------------------------------------------------------- */

static enum holdfast_status take(struct holdfast *client, struct holdfast_session **session,
                                 uint64_t *token)
{
    enum holdfast_status status = holdfast_session_open_sync(client, NULL, session);

    return status != HOLDFAST_OK ? status
                                 : holdfast_lock_acquire_sync(*session, "document", 8, 5000, token);
}

/* What a long pause comes to: the cluster no longer knows the session, and its holder, which does
 * not look, has not heard of it. */
static enum holdfast_status lose(struct holdfast *client, const struct holdfast_session *session)
{
    struct holdfast_call *call =
        holdfast_session_end_id(client, holdfast_session_id(session), holdfast_keep, NULL);

    if (call == NULL || !holdfast_call_wait(call, -1)) {
        return HOLDFAST_OVERLOADED;
    }
    enum holdfast_status status = holdfast_call_result(call)->status;
    holdfast_call_free(call);
    return status;
}

static enum holdfast_status show(struct holdfast *client, struct resource *resource)
{
    struct holdfast_session *first = NULL;
    struct holdfast_session *second = NULL;
    uint64_t first_token = 0;
    uint64_t second_token = 0;

    enum holdfast_status status = take(client, &first, &first_token);
    if (status == HOLDFAST_OK) {
        status = lose(client, first);
    }
    if (status == HOLDFAST_OK) {
        status = take(client, &second, &second_token);
    }
    if (status == HOLDFAST_OK) {
        (void)resource_write(resource, "new", second_token);
        (void)resource_write(resource, "old", first_token);
    }
    if (second != NULL) {
        (void)holdfast_session_end_sync(second);
    }
    if (first != NULL) {
        (void)holdfast_session_end_sync(first);
    }
    return status;
}

int main(int count, char **arguments)
{
    struct holdfast_options options = {.endpoints = count > 1 ? arguments[1] : ""};
    struct resource resource = {.fence = NULL};
    char path[PATH_SIZE];
    const char *why = "usage: writer ENDPOINTS FOLDER [--ignore-token]";
    struct holdfast *client;

    if (count < 3 || holdfast_open(&client, &options) != HOLDFAST_OK) {
        (void)fprintf(stderr, "%s\n", why);
        return 64;
    }
    (void)snprintf(resource.path, sizeof resource.path, "%s/document", arguments[2]);
    (void)snprintf(path, sizeof path, "%s/fence", arguments[2]);
    bool ignores = count > 3 && strcmp(arguments[3], "--ignore-token") == 0;
    resource.fence = ignores ? NULL : holdfast_fence_open(path, &why);
    if (!ignores && resource.fence == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, why);
        holdfast_close(client, NULL, NULL);
        return 65;
    }
    enum holdfast_status status = show(client, &resource);
    bool is_right = resource_has(&resource, "new");
    holdfast_fence_close(resource.fence);
    holdfast_close(client, NULL, NULL);
    if (status != HOLDFAST_OK) {
        (void)fprintf(stderr, "%s\n", holdfast_status_text(status));
        return 69;
    }
    (void)printf("%s\n",
                 is_right ? "right: the newer value stands" : "WRONG: the old value stands");
    return is_right ? 0 : 1;
}
