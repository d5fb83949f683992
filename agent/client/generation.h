/* What a generation of the configuration needs beside its options: the certificates and keys that it names, read once. */
#ifndef WSHEALTHD_CLIENT_GENERATION_H
#define WSHEALTHD_CLIENT_GENERATION_H

#include "agent/conf/conf.h"
#include "agent/net/tls.h"

/* One configuration generation with its TLS contexts, counted by reference: checks kept over a reload hold on to theirs. */
struct generation {
    unsigned refs;
    struct conf *conf;
    struct tls_context *tls, *tls_resume; /* NULL where nothing in the configuration speaks TLS */
    struct tls_context **broker_tls;      /* for each broker; NULL where it has no need of one */
    struct tls_context **notifier_tls;    /* for each notifier, likewise */
};
struct generation *generation_new(struct conf *conf, struct err *err); /* reads the TLS files: err names the bad one */
struct generation *generation_ref(struct generation *generation);
void generation_unref(struct generation *generation);

#endif
