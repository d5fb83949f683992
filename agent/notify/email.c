/*
 * `email`: a mail through sendmail(8), the command that every Unix mailer brings (Postfix, Exim, OpenSMTPD, msmtp, DragonFly's dma).
 *
 * `sendmail -i [-f FROM] TO…` reads the message from standard input; its exit codes are those of sysexits.h, 75 is "try again". The message is
 * RFC 5322, with RFC 2045 to 2047 for other languages; RFC 3834 has Auto-Submitted, which keeps holiday answers away. The messages of one
 * incident refer to its first one, so that readers show them as one thread. Recipients are on the command line and not read from the head
 * (-t): no text can add one.
 */
#include <ctype.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "agent/notify/mail.h"
#include "agent/notify/receiver.h"
#include "agent/notify/registry.h"
#include "agent/notify/told.h"

enum { ADDRESS_BYTES = 256, HOST_CHARS = 200, TEXT_MAX = 64 << 10, TO_MAX = 20, NAME_WIDTH = 12 };

struct email_opts {
    char *program, *from;
    struct opt_strings to;
};

static const struct opt rows[] = {
    { .name = "to",
      .kind = OPT_STRINGS,
      .offset = offsetof(struct email_opts, to),
      .min = 1,
      .max = TO_MAX,
      .flags = OPT_REQUIRED,
      .help = "the recipients: addresses such as ops@example.com, or users of this host" },
    { .name = "from",
      .kind = OPT_STRING,
      .offset = offsetof(struct email_opts, from),
      .help =
          "the sender, also towards the mailer (-f); by default wshealthd@ and the host's name, and the mailer's own idea of it" },
    { .name = "program",
      .kind = OPT_STRING,
      .offset = offsetof(struct email_opts, program),
      .default_text = "/usr/sbin/sendmail",
      .min = 1,
      .max = MESSAGE_ARG_MAX,
      .help = "what is run as sendmail(8), without a shell; the mail is its standard input" },
    { 0 },
};

static int validate(const struct notifier_conf *conf, struct err *err)
{
    const struct email_opts *opts = conf->opts;

    for (size_t i = 0; i < opts->to.count; i++)
        if (!mail_is_address(opts->to.items[i]))
            return err_set(err, REASON_NONE, 0, "to: '%.60s' is not an address such as ops@example.com", opts->to.items[i]);
    if (opts->from && !mail_is_address(opts->from))
        return err_set(err, REASON_NONE, 0, "from: '%.60s' is not an address such as wshealthd@example.com", opts->from);
    return 0;
}

/* --- the head --- */

/* A host's name as it can stand in an address, whatever it is. */
static void host_of(const struct notice *notice, char out[ADDRESS_BYTES])
{
    size_t len = 0;

    for (const char *c = notice->host ? notice->host : ""; *c && len < HOST_CHARS; c++)
        if (isascii((unsigned char)*c) && (isalnum((unsigned char)*c) || *c == '-' || (*c == '.' && len && out[len - 1] != '.')))
            out[len++] = *c;
    while (len && out[len - 1] == '.')
        len--;
    out[len] = '\0';
    if (!len)
        snprintf(out, ADDRESS_BYTES, "localhost");
}

static void put_from(struct buf *out, const struct email_opts *opts, const struct notice *notice, const char *host)
{
    char who[TOLD_VALUE_BYTES], name[sizeof who + sizeof "wshealthd on "], address[ADDRESS_BYTES + sizeof "wshealthd@"];

    told_clean(told_who(notice), HOST_CHARS / 4, who, sizeof who);
    snprintf(name, sizeof name, "wshealthd on %s", who);
    snprintf(address, sizeof address, "wshealthd@%s", host);
    mail_from(out, name, opts->from ? opts->from : address);
}

static void put_to(struct buf *out, const struct email_opts *opts)
{
    for (size_t i = 0; i < opts->to.count; i++)
        buf_printf(out, "%s%s%s", i ? "\n " : "To: ", opts->to.items[i], i + 1 < opts->to.count ? "," : "\n");
}

/* The first mail of an incident has the incident's own name; what comes later names it. A try that is made again is the same mail. */
static void put_ids(struct buf *out, const struct notice *notice, const char *host)
{
    if (notice->kind == NOTICE_BEGIN) {
        buf_printf(out, "Message-ID: <%s@%s>\n", notice->incident, host);
        return;
    }
    buf_printf(out, "Message-ID: <%s.%s.%" PRId64 "@%s>\n", notice->incident, notice_kind_name(notice->kind), notice->at_ms, host);
    if (notice->kind != NOTICE_TEST)
        buf_printf(out, "In-Reply-To: <%s@%s>\nReferences: <%s@%s>\n", notice->incident, host, notice->incident, host);
}

static void put_head(struct buf *out, const struct email_opts *opts, const struct notice *notice)
{
    char title[TOLD_TITLE_BYTES], host[ADDRESS_BYTES];

    host_of(notice, host);
    told_title(notice, title);
    put_from(out, opts, notice, host);
    put_to(out, opts);
    mail_field(out, "Subject", title);
    mail_date(out, notice->at_ms);
    put_ids(out, notice, host);
    buf_append_str(out, "Auto-Submitted: auto-generated\n"
                        "X-Auto-Response-Suppress: All\n"
                        "MIME-Version: 1.0\n"
                        "Content-Type: text/plain; charset=UTF-8\n"
                        "Content-Transfer-Encoding: quoted-printable\n\n");
}

/* --- the text --- */

static void put_text(struct buf *out, const struct notice *notice)
{
    char text[TOLD_SENTENCE_BYTES], advice[TOLD_ADVICE_BYTES];
    struct told_fact facts[TOLD_FACTS_MAX];
    size_t count = told_facts(notice, facts);

    told_title(notice, text);
    buf_printf(out, "%s.\n", text);
    told_sentence(notice, text);
    buf_printf(out, "\n%s\n", text);
    for (size_t i = 0; i < told_advice_count(notice); i++) {
        told_advice(notice, i, advice);
        buf_printf(out, "%s- %s\n", i ? "" : "\nWhat to do:\n", advice);
    }
    buf_append_char(out, '\n');
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%s:%*s%s\n", facts[i].name, NAME_WIDTH - (int)strlen(facts[i].name), "", facts[i].value);
    if (told_link(notice))
        buf_printf(out, "Status page: %s\n", told_link(notice));
    if (notice->kind != NOTICE_TEST && notice->cause)
        buf_printf(out, "\n`wshealthd explain %s` says more about this cause.\n", notice->cause);
}

static int compose(const struct notifier_conf *conf, const struct notice *notice, struct message_out *out, struct err *err)
{
    const struct email_opts *opts = conf->opts;
    struct buf text = BUF_INIT(TEXT_MAX);
    int rc = message_arg(out, opts->program) | message_arg(out, "-i");

    if (opts->from)
        rc |= message_arg(out, "-f") | message_arg(out, opts->from);
    for (size_t i = 0; i < opts->to.count; i++)
        rc |= message_arg(out, opts->to.items[i]);
    if (!out->templated)
        put_text(&text, notice);
    put_head(&out->body, opts, notice);
    rc |= mail_text(&out->body, out->templated ? buf_slice(&out->text) : buf_slice(&text));
    buf_fini(&text);
    return rc == 0 ? 0 : err_set(err, REASON_NONE, 0, "the message is too long");
}

const struct receiver_type receiver_email = {
    .name = "email",
    .summary = "A mail through sendmail(8), as every Unix mailer offers it",
    .by = RECEIVER_PROGRAM,
    .example = "to: [ops@example.com]",
    .opts = rows,
    .opts_size = sizeof(struct email_opts),
    .has_header = true,
    .validate = validate,
    .compose = compose,
};
