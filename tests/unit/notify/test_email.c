/* Mails: a head that no text can add to, words in any language, a text that comes out as it went in, and one thread for one incident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/base/mem.h"
#include "agent/notify/mail.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/proto/base64.h"
#include "tests/unit/notify/notices.h"

static struct message_out message;

static void clear(void)
{
    buf_fini(&message.body);
    buf_fini(&message.text);
    for (size_t i = 0; i < message.arg_count; i++)
        mem_free(message.args[i]);
    message = (struct message_out){ 0 };
}

static struct notifier_conf conf_with(const char *from)
{
    struct notifier_conf conf = { .type = &receiver_email, .opts = mem_alloc(receiver_email.opts_size) };
    struct err err;

    opt_defaults(receiver_email.opts, conf.opts);
    assert_int_equal(opt_set(receiver_email.opts, conf.opts, "to", "ops@example.com", &err), 0);
    assert_int_equal(opt_set(receiver_email.opts, conf.opts, "to", "root", &err), 0);
    if (from)
        assert_int_equal(opt_set(receiver_email.opts, conf.opts, "from", from, &err), 0);
    return conf;
}

static void free_conf(struct notifier_conf *conf)
{
    opt_fini(receiver_email.opts, conf->opts);
    mem_free(conf->opts);
}

static const char *mail_with(const char *from, const char *template, const struct notice *notice)
{
    struct notifier_conf conf = conf_with(from);
    struct err err = { 0 };

    clear();
    buf_init(&message.body, MESSAGE_BODY_MAX);
    buf_init(&message.text, MESSAGE_BODY_MAX);
    if (template) {
        message.templated = true;
        buf_append_str(&message.text, template);
    }
    if (receiver_email.compose(&conf, notice, &message, &err) < 0)
        fail_msg("%s", err.text);
    free_conf(&conf);
    return buf_str(&message.body);
}

static const char *mail(const struct notice *notice)
{
    return mail_with(NULL, NULL, notice);
}

static void has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in:\n%s", part, text);
}

static void test_begin(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);
    const char *text = mail(&notice);

    (void)state;
    assert_int_equal(message.arg_count, 4);
    assert_string_equal(message.args[0], "/usr/sbin/sendmail");
    assert_string_equal(message.args[1], "-i");
    assert_string_equal(message.args[2], "ops@example.com");
    assert_string_equal(message.args[3], "root");
    has(text, "From: wshealthd on chat-1\n <wshealthd@node7.example.com>\nTo: ops@example.com,\n root\n");
    has(text, "\nSubject: chat-1 is not ready: the server has lost its subscription\n");
    has(text, "\nDate: Sun, 22 Nov 2026 10:00:15 +0000\n");
    has(text, "\nMessage-ID: <1f0c9a-3@node7.example.com>\n");
    has(text, "\nAuto-Submitted: auto-generated\n");
    has(text, "\n\nchat-1 is not ready: the server has lost its subscription.\n\nThe server has lost its subscription: messages ");
    has(text, "\n\nWhat to do:\n- Restart the server, so that it subscribes again\n- See `wshealthd status`\n\n");
    has(text, "\nCause:       server_detached_from_broker\n");
    has(text, "\nStatus page: https://status.example.com/chat-1?a=3D1&b=3D2\n");
    assert_null(strstr(text, "In-Reply-To"));
}

static void test_thread(void **state)
{
    static const enum notice_kind later[] = { NOTICE_CHANGE, NOTICE_REPEAT, NOTICE_END };

    (void)state;
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        struct notice notice = notices_make(later[i]);
        const char *text = mail(&notice);
        char id[128];

        snprintf(id, sizeof id, "\nMessage-ID: <1f0c9a-3.%s.1795342325000@node7.example.com>\n", notice_kind_name(later[i]));
        has(text, id);
        has(text, "\nIn-Reply-To: <1f0c9a-3@node7.example.com>\nReferences: <1f0c9a-3@node7.example.com>\n");
    }
    struct notice notice = notices_make(NOTICE_TEST);
    assert_null(strstr(mail(&notice), "In-Reply-To"));
}

static void test_from_and_template(void **state)
{
    struct notice notice = notices_make(NOTICE_BEGIN);
    const char *text = mail_with("wshealthd@chat.example.com", "mine\n", &notice), *body;

    (void)state;
    has(text, "\n <wshealthd@chat.example.com>\n");
    assert_string_equal(message.args[2], "-f");
    assert_string_equal(message.args[3], "wshealthd@chat.example.com");
    body = strstr(text, "\n\n");
    assert_non_null(body);
    assert_string_equal(body, "\n\nmine\n");
}

/* Every line is short and printable, and the head has our fields alone. */
static void assert_mail(const char *text)
{
    static const char *const fields[] = { "From",
                                          "To",
                                          "Subject",
                                          "Date",
                                          "Message-ID",
                                          "In-Reply-To",
                                          "References",
                                          "Auto-Submitted",
                                          "X-Auto-Response-Suppress",
                                          "MIME-Version",
                                          "Content-Type",
                                          "Content-Transfer-Encoding" };
    unsigned seen = 0;
    bool head = true;

    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        size_t len = strcspn(line, "\n");

        /* What cannot be folded is a host's name, which has its own limit. */
        assert_true(line[len] == '\n' && len <= (memchr(line, '@', len) && head ? 300 : 76));
        for (size_t i = 0; i < len; i++)
            assert_true(line[i] >= ' ' && line[i] <= '~');
        if (!head) {
            assert_true(strncmp(line, "From ", 5) != 0 && line[0] != '.');
            continue;
        }
        if (!len) {
            head = false;
        } else if (line[0] != ' ') {
            size_t i = 0;

            while (i < sizeof fields / sizeof fields[0] &&
                   (strncmp(line, fields[i], strlen(fields[i])) != 0 || line[strlen(fields[i])] != ':'))
                i++;
            if (i == sizeof fields / sizeof fields[0] || (seen & 1U << i))
                fail_msg("a field that is not ours: %.*s", (int)len, line);
            seen |= 1U << i;
        } else {
            assert_true(strspn(line, " ") < len); /* a fold that is blank would end the head for some */
        }
    }
    assert_false(head);
}

static void test_hostile(void **state)
{
    (void)state;
    for (enum notice_kind kind = NOTICE_BEGIN; kind <= NOTICE_TEST; kind++) {
        struct notice notice = notices_make_hostile(kind);

        assert_mail(mail(&notice));
        assert_mail(mail_with(NULL, "x\n.\nFrom y\n\xff\r\n\r\nBcc: z   \n", &notice));
        notice.host = "\r\n<a@b>..";
        assert_mail(mail(&notice));
        notice.host = NULL;
        assert_mail(mail(&notice));
    }
}

/* --- encodings -------------------------------------------------------------------------------------------------------------------- */

static void subject(const char *text, const char *want)
{
    struct buf out = BUF_INIT(4096);

    assert_int_equal(mail_field(&out, "Subject", text), 0);
    assert_string_equal(buf_str(&out), want);
    buf_fini(&out);
}

static void test_fields(void **state)
{
    (void)state;
    subject("short", "Subject: short\n");
    subject("one two three four five six seven eight nine ten eleven twelve thirteen fourteen",
            "Subject: one two three four five six seven eight nine ten eleven twelve\n thirteen fourteen\n");
    subject("Grün", "Subject: \n =?UTF-8?B?R3LDvG4=?=\n");
    subject("=?x", "Subject: \n =?UTF-8?B?PT94?=\n");
    subject("a  b", "Subject: \n =?UTF-8?B?YSAgYg==?=\n");
}

/* What encoded words say, put together. */
static void decode_words(const char *text, struct buf *out)
{
    while ((text = strstr(text, "=?UTF-8?B?"))) {
        const char *end;

        text += strlen("=?UTF-8?B?");
        end = strstr(text, "?=");
        assert_non_null(end);
        assert_int_equal(base64_decode(slice_make(text, (size_t)(end - text)), out), 0);
    }
}

static void test_encoded_words(void **state)
{
    struct buf text = BUF_INIT(4096), out = BUF_INIT(8192), back = BUF_INIT(8192);

    (void)state;
    for (int i = 0; i < 200; i++) {
        buf_append_str(&text, i % 3 == 0 ? "x" : i % 3 == 1 ? "\xc3\xa9" : "\xf0\x9f\x98\x80");
        buf_reset(&out);
        buf_reset(&back);
        assert_int_equal(mail_field(&out, "Subject", buf_str(&text)), 0);
        if (i == 0)
            continue; /* plain */
        decode_words(buf_str(&out), &back);
        assert_string_equal(buf_str(&back), buf_str(&text));
        for (const char *line = buf_str(&out); *line; line = strchr(line, '\n') + 1)
            assert_true(strcspn(line, "\n") <= 76);
    }
    buf_fini(&text);
    buf_fini(&out);
    buf_fini(&back);
}

static void decode_text(const char *in, struct buf *out)
{
    for (; *in; in++) {
        if (*in != '=') {
            buf_append_char(out, *in);
        } else if (in[1] == '\n') {
            in++;
        } else {
            char hex[] = { in[1], in[2], '\0' };

            buf_append_char(out, (char)strtol(hex, NULL, 16));
            in += 2;
        }
    }
}

static void text_survives(const char *text)
{
    struct buf out = BUF_INIT(65536), back = BUF_INIT(65536);

    assert_int_equal(mail_text(&out, slice_str(text)), 0);
    for (const char *line = buf_str(&out); *line; line = strchr(line, '\n') + 1) {
        size_t len = strcspn(line, "\n");

        assert_true(len <= 76);
        assert_true(len == 0 || line[len - 1] != ' ');
        assert_true(line[0] != '.' && strncmp(line, "From", 4) != 0);
    }
    decode_text(buf_str(&out), &back);
    assert_int_equal(strncmp(buf_str(&back), text, strlen(text)), 0);
    assert_true(back.len <= strlen(text) + 1); /* a line break at the end, where there was none */
    buf_fini(&out);
    buf_fini(&back);
}

static void test_texts(void **state)
{
    char line[400];

    (void)state;
    text_survives("");
    text_survives("a\n");
    text_survives("ends with blanks   \n\tx\t\n\n\n.\n..\nFrom me\n=3D\r\n\xf0\x9f\x98\x80 no line break at the end ");
    for (size_t i = 0; i < sizeof line - 1; i++) {
        memset(line, i % 2 ? 'x' : '=', i);
        line[i] = '\0';
        text_survives(line);
        if (i > 80) {
            line[75] = '.';
            line[74] = ' ';
            text_survives(line);
        }
    }
}

static void test_dates(void **state)
{
    struct buf out = BUF_INIT(256);

    (void)state;
    assert_int_equal(mail_date(&out, 0), 0);
    assert_int_equal(mail_date(&out, INT64_C(1709210096789)), 0);
    assert_string_equal(buf_str(&out), "Date: Thu, 01 Jan 1970 00:00:00 +0000\nDate: Thu, 29 Feb 2024 12:34:56 +0000\n");
    buf_fini(&out);
}

static void test_addresses(void **state)
{
    static const char *const good[] = { "root", "ops@example.com", "a.b+c@d-e.example", "ops_1@localhost" };
    static const char *const bad[] = { "",        "-f@x",    "--",    "a b@c",  "a@b@c", "a@",         "@b",    "<a@b>", "\"a\"@b",
                                       "a@b\r\n", "a@b,c@d", "a;b@c", "a(b)@c", "a@b.",  "\xc3\xa9@b", "a\\@b", "|cmd",  "a`b`@c" };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(mail_is_address(good[i]));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(mail_is_address(bad[i]));
}

static void test_options(void **state)
{
    struct notifier_conf conf = conf_with("not an address");
    struct err err;

    (void)state;
    assert_int_equal(receiver_email.validate(&conf, &err), -1);
    assert_string_equal(err.text, "from: 'not an address' is not an address such as wshealthd@example.com");
    assert_int_equal(opt_set(receiver_email.opts, conf.opts, "to", "-oQ/tmp", &err), 0);
    assert_int_equal(receiver_email.validate(&conf, &err), -1);
    assert_string_equal(err.text, "to: '-oQ/tmp' is not an address such as ops@example.com");
    free_conf(&conf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_begin),   cmocka_unit_test(test_thread), cmocka_unit_test(test_from_and_template),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_fields), cmocka_unit_test(test_encoded_words),
        cmocka_unit_test(test_texts),   cmocka_unit_test(test_dates),  cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_options),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    clear();
    return failed;
}
