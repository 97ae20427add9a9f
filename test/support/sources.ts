import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";

/** The folder of the project. */
export const ROOT = join(__dirname, "../..");

export const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

/** Files with this ending below some folders of the project, by their paths from there. */
export function filesIn(folders: readonly string[], ending: string): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(ending))
        .map((file) => join(folder, file)),
    )
    .sort();
}

export interface Import {
  from: string;
  /** What is imported: a file of the project by its path without ending, or a package by its name. */
  to: string;
}

const SPECIFIER = /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)"([^"]+)"/g;

/** Every import of the files below these folders. */
export function importsIn(folders: readonly string[]): Import[] {
  return filesIn(folders, ".ts").flatMap((from) =>
    [...read(from).matchAll(SPECIFIER)].map(([, specifier = ""]) => ({
      from,
      to: specifier.startsWith(".")
        ? relative(ROOT, join(ROOT, dirname(from), specifier))
        : specifier,
    })),
  );
}

/** The Mermaid pictures in a Markdown text. */
export const picturesIn = (markdown: string): string[] =>
  [...markdown.matchAll(/```mermaid\n([\s\S]*?)```/g)].map(([, picture = ""]) => picture);

/** The rows of all tables in a Markdown text, as the texts of their cells. */
export function tableRows(markdown: string): string[][] {
  return markdown
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .map((line) =>
      line
        .split("|")
        .slice(1, -1)
        .map((cell) => cell.trim()),
    );
}

/** The text between a pair of backticks; undefined for a cell that has no such text. */
export const codeOf = (cell: string | undefined): string | undefined =>
  /^`([^`]+)`/.exec(cell ?? "")?.[1];
