/* Whatever bytes a configuration holds: no crash, no leak, an error or a generation; and what is shown of a generation loads again. */
#include <stdlib.h>
#include <string.h>

#include "agent/base/mem.h"
#include "agent/base/secret.h"
#include "agent/conf/conf.h"
#include "brokers/registry.h"
#include "probes/dialects/registry.h"
#include "probes/registry.h"

static const char *fuzz_getenv(const char *name)
{
    return strcmp(name, "A") == 0 ? "value" : strcmp(name, "B") == 0 ? "" : strcmp(name, "C") == 0 ? "10s" : NULL;
}

static const struct conf_env env = {
    .probes = probe_registry, .brokers = broker_registry, .dialects = dialect_registry, .getenv = fuzz_getenv
};

static struct conf *load(struct slice text, struct conf_errors *errors)
{
    conf_errors_init(errors);
    struct conf *conf = conf_load_text("fuzz.yaml", text, &env, errors);
    panic_if((!conf) != (errors->count > 0));
    panic_if(errors->count > CONF_ERRORS_MAX);
    return conf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conf_errors errors, again_errors;
    struct conf *conf = load(slice_make(data, size), &errors);
    if (conf) {
        struct buf shown = BUF_INIT(4 << 20);
        conf_show(conf, &env, &shown);
        struct conf *again = load(buf_slice(&shown), &again_errors);
        panic_if(!again || again->check_count != conf->check_count);
        for (size_t i = 0; i < conf->check_count; i++)
            panic_if(!opt_equal(check_rows, &conf->checks[i], &again->checks[i]));
        panic_if(conf->broker_count != again->broker_count || conf->dialect_count != again->dialect_count);
        for (size_t i = 0; i < conf->dialect_count; i++)
            panic_if(!opt_equal(dialect_rows, &conf->dialects[i], &again->dialects[i]));
        conf_unref(again);
        conf_errors_fini(&again_errors);
        buf_fini(&shown);
    }
    conf_unref(conf);
    conf_errors_fini(&errors);
    secret_forget_all();
    return 0;
}
