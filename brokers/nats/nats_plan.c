/* The end of a NATS connection's plan (brokers/nats/nats.h): the loop makes it, the worker frees it. */
#include "brokers/nats/nats.h"

#include <string.h>

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
