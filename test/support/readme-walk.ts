import { spawn } from "node:child_process";

/** One step of the walk: what to type, and what comes back; undefined where nothing is shown. */
export interface WalkStep {
  commands: string;
  output: string | undefined;
}

const WALK = /<!-- walk -->([\s\S]*?)<!-- \/walk -->/;
const BLOCK = /```(sh|text)\n([\s\S]*?)```/g;

/** The steps between the walk's marks in a README. */
export function walkOf(readme: string): WalkStep[] {
  const walk = WALK.exec(readme)?.[1];
  if (walk === undefined) throw new Error("The README has no walk");
  const steps: WalkStep[] = [];
  for (const [, kind, text = ""] of walk.matchAll(BLOCK)) {
    const last = steps.at(-1);
    if (kind === "sh") steps.push({ commands: text, output: undefined });
    else if (last) last.output = text;
  }
  return steps;
}

/** Puts the outputs of a run into a README's walk. */
export function withOutputs(readme: string, outputs: readonly string[]): string {
  let step = -1;
  return readme.replace(WALK, (walk) =>
    walk.replace(BLOCK, (block, kind: string) => {
      if (kind === "sh") step++;
      return kind === "sh" ? block : `\`\`\`text\n${outputs[step] ?? ""}\`\`\``;
    }),
  );
}

const MARK = "@@ end of step @@";

/** Types the steps into one shell, word for word but for the address; gives each step's output. */
export async function takeWalk(steps: readonly WalkStep[], origin: string): Promise<string[]> {
  const script = steps
    .map(({ commands }) => `${commands}\necho '${MARK}'\n`)
    .join("")
    .replaceAll("http://127.0.0.1:3000", origin);
  const shell = spawn("bash", ["-e", "-o", "pipefail"], { stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  shell.stdout.on("data", (chunk) => {
    output += chunk;
  });
  shell.stderr.on("data", (chunk) => {
    errors += chunk;
  });
  shell.stdin.end(script);
  const code = await new Promise((resolve) => shell.on("close", resolve));
  if (code !== 0) throw new Error(`The walk ended with ${code}\n${output}\n${errors}`);
  return output.split(`${MARK}\n`).slice(0, steps.length);
}
