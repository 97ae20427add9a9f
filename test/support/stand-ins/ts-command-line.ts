/** Stands for what umzug's own command line is made of, which nobody here uses and every test file would read anew. */
export class CommandLineAction {}
export class CommandLineParser {}
