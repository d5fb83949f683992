/*
 * What tests that load configurations share. The test defines `static const struct conf_env env` before it includes this: the check types,
 * broker types, dialects and variables that it plays with. Each test begins without errors and ends without secrets.
 */
#ifndef WSHEALTHD_TESTS_LOAD_H
#define WSHEALTHD_TESTS_LOAD_H

#include "agent/base/secret.h"
#include "agent/conf/conf.h"

static struct conf_errors errors;

static int set_up(void **state)
{
    (void)state;
    conf_errors_init(&errors);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    conf_errors_fini(&errors);
    secret_forget_all();
    return 0;
}

static struct conf *load_slice(struct slice text)
{
    conf_errors_fini(&errors);
    conf_errors_init(&errors);
    return conf_load_text("w.yaml", text, &env, &errors);
}

static struct conf *load(const char *text)
{
    struct conf *conf = load_slice(slice_str(text));
    if (!conf)
        fail_msg("%s", buf_str(&errors.text));
    assert_int_equal(errors.count, 0);
    return conf;
}

#endif
