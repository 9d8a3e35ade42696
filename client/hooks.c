/* client/hooks.c: what a loop of any kind tells the client. */
#include "client/client.h"

/* The client may be gone behind this. */
static void turn(struct holdfast *client)
{
    ASSERT(!client->is_threaded && client->runner == NULL);
    if (!shell_turn(client->shell)) {
        return;
    }
    void (*closed)(void *context) = client->closed;
    void *context = client->closed_context;
    client_free(client);
    if (closed != NULL) {
        closed(context);
    }
}

void holdfast_hook_ready(struct holdfast *client, int file, int events)
{
    shell_ready(client->shell, file, events);
    turn(client);
}

void holdfast_hook_due(struct holdfast *client)
{
    shell_timer_fired(client->shell);
    turn(client);
}

void holdfast_hook_resolved(struct holdfast *client, uint64_t ticket,
                            const struct sockaddr *address, size_t size)
{
    shell_resolved(client->shell, ticket, address, size);
    shell_wake(client->shell);
}
