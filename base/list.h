/* base/list.h: intrusive doubly linked lists.
 *
 * A struct list is either a head or a member within another structure; CONTAINER_OF() leads back.
 * Nothing is allocated, every operation is O(1). */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/macros.h"

struct list {
    struct list *next;
    struct list *previous;
};

/* An empty head, or a member that is in no list. */
static inline void list_init(struct list *list)
{
    list->next = list;
    list->previous = list;
}

static inline bool list_is_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_is_linked(const struct list *member)
{
    return member->next != member;
}

static inline void list_insert_before(struct list *at, struct list *member)
{
    member->previous = at->previous;
    member->next = at;
    at->previous->next = member;
    at->previous = member;
}

static inline void list_push_back(struct list *head, struct list *member)
{
    list_insert_before(head, member);
}

static inline void list_push_front(struct list *head, struct list *member)
{
    list_insert_before(head->next, member);
}

/* Afterwards the member is in no list; removing it again does nothing. */
static inline void list_remove(struct list *member)
{
    member->previous->next = member->next;
    member->next->previous = member->previous;
    list_init(member);
}

/* NULL when the list is empty. */
static inline struct list *list_first(struct list *head)
{
    return list_is_empty(head) ? NULL : head->next;
}

static inline struct list *list_pop_front(struct list *head)
{
    struct list *member = list_first(head);

    if (member != NULL) {
        list_remove(member);
    }
    return member;
}

#endif
