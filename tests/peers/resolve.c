/* Prints what getaddrinfo makes of each name: the name and its addresses, a line each. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>

int main(int n, char **names) {
    for (int i = 1; i < n; i++) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
        printf("%s", names[i]);
        if (getaddrinfo(names[i], NULL, &hints, &all) == 0) {
            for (struct addrinfo *one = all; one; one = one->ai_next) {
                char text[64];
                if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST) == 0)
                    printf(" %s", text);
            }
            freeaddrinfo(all);
        }
        printf("\n");
    }
    return 0;
}
