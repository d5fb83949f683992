/* `wshealthd explain`: the row of a cause or a reason, or the list of all. Called by agent/main.c. agent/report/explain.c has the texts. */
#include <stdio.h>

#include "agent/base/program.h"
#include "agent/base/text.h"
#include "agent/cli/cli.h"
#include "agent/report/explain.h"

enum { WORDS_MAX = 512, SHOWN_MAX = 60 };

static int unknown_word(const struct cli *cli, const char *word)
{
    const char *words[WORDS_MAX] = { NULL };
    char shown[TEXT_EXCERPT_BYTES(SHOWN_MAX)];
    const char *nearest = text_nearest(word, words, explain_words(words, WORDS_MAX));
    text_excerpt(slice_str(word), SHOWN_MAX, shown, sizeof shown);
    if (nearest)
        return cli_error(cli, "'%s' is neither a cause nor a reason (did you mean '%s'?)", shown, nearest);
    return cli_error(cli, "'%s' is neither a cause nor a reason (see '%s explain')", shown, program_name());
}

int cli_explain(struct cli *cli)
{
    struct buf text = BUF_INIT(CLI_TEXT_MAX), out = BUF_INIT(CLI_TEXT_MAX);
    const char *word = cli->arg_count ? cli->args[0] : NULL;
    bool known = true;
    if (word)
        known = explain_write(word, &text);
    else
        explain_write_list(&text);
    cli_put_as_typed(cli->commands, buf_str(&text), &out);
    int code = known ? cli_print_text(cli, &out, EXIT_PASS) : unknown_word(cli, word);
    buf_fini(&text);
    buf_fini(&out);
    return code;
}
