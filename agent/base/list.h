/* An intrusive doubly linked ring. The head is a node of its own; a node that is in no list points at itself. */
#ifndef WSHEALTHD_BASE_LIST_H
#define WSHEALTHD_BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *prev, *next;
};

#define LIST_INIT(head) { &(head), &(head) }
#define list_entry(node, type, member) ((type *)(void *)((char *)(node) - offsetof(type, member)))
#define list_each(pos, head) for (struct list *pos = (head)->next; pos != (head); pos = pos->next)
/* The current node may be removed in the body, others may not. */
#define list_each_safe(pos, head) \
    for (struct list *pos = (head)->next, *pos##_next = pos->next; pos != (head); pos = pos##_next, pos##_next = pos->next)

static inline void list_init(struct list *head)
{
    head->prev = head->next = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_push(struct list *head, struct list *node) /* at the end */
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_remove(struct list *node) /* harmless on a node that is in no list */
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

#endif
