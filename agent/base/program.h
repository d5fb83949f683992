/* What a person has to type to start this program again: for advice, errors and help that name a command. */
#ifndef WSHEALTHD_BASE_PROGRAM_H
#define WSHEALTHD_BASE_PROGRAM_H

/* Once, from main, before process_hide (/proc/self is looked into). argv0 is copied. */
void program_learn(const char *argv0);
/* The name alone where the shell finds this very file by it on the PATH, else argv[0] ("build/release/wshealthd"), quoted for a shell
 * where it has to be. "wshealthd" until program_learn is called, and where argv[0] is of no use. */
const char *program_name(void);
/* The same for another directory, such as that of another terminal: an absolute path in the place of a relative one. */
const char *program_anywhere(void);

#endif
