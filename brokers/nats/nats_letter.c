/* Plans and letters of the NATS driver (brokers/nats/nats.h): made on one side, the loop's or the worker's, and freed on the other. */
#include "brokers/nats/nats.h"

#include <string.h>

#include "agent/base/clock.h"
#include "agent/base/mem.h"

void nats_plan_free(struct nats_plan *plan)
{
    char **texts[] = { &plan->where,   &plan->user,      &plan->nkey_file, &plan->nkey_public, &plan->credentials_file,
                       &plan->ca_file, &plan->cert_file, &plan->key_file,  &plan->server_name, &plan->stream };
    char **secrets[] = { &plan->password, &plan->token };
    for (int i = 0; i < plan->server_count; i++)
        mem_free(plan->servers[i]);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        mem_free(*texts[i]);
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (*secrets[i])
            explicit_bzero(*secrets[i], strlen(*secrets[i]));
        mem_free(*secrets[i]);
    }
    mem_free(plan);
}

struct nats_letter *nats_letter_new(enum nats_kind kind, struct slice topic, struct slice body)
{
    struct nats_letter *letter = mem_alloc(sizeof *letter + topic.len + 1 + body.len);
    letter->letter.bytes = sizeof *letter + topic.len + 1 + body.len;
    letter->kind = kind;
    letter->at_ns = clock_now_ns();
    letter->topic = letter->data;
    letter->body = slice_make(letter->data + topic.len + 1, body.len);
    if (topic.len > 0)
        memcpy(letter->data, topic.data, topic.len);
    if (body.len > 0)
        memcpy(letter->data + topic.len + 1, body.data, body.len);
    return letter;
}

void nats_letter_discard(struct letter *letter)
{
    mem_free(list_entry(letter, struct nats_letter, letter));
}
