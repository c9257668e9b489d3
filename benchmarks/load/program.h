/* What each program of the benchmarks needs: a way to end, to read the numbers of its
 * command line, and to tell the time and how much of a processor was used. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdint.h>
#include <sys/types.h>

/* Write a line to stderr and exit with status 1. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* The number that `text` is, or the end when it is none from `low` to `high`. */
double number(const char *text, double low, double high);

/* A clock that never jumps; 1 ns is its unit, or 1 s. */
uint64_t now_ns(void);
double now_seconds(void);
uint64_t ns(double seconds);

/* Processor time used so far by a process; 0 stands for this one. */
double cpu_seconds(pid_t process);

#endif
