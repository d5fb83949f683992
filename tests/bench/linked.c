/* linked: links what wshealthd links and does nothing, until it is ended. Its memory is the floor of any program with these libraries. */
#include <unistd.h>

int main(void)
{
    pause();
    return 0;
}
