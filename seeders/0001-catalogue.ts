import { newId } from "../lib/ids";
import type { Step } from "../lib/steps";

/** Name, category, what it is, usual capacity, usual length in minutes. */
const CATALOGUE: readonly [string, string, string, number, number][] = [
  ["Concert", "Music", "Live music on a stage, for a standing or seated audience.", 500, 150],
  ["Festival", "Music", "Several stages and acts over one or more days.", 5000, 2880],
  ["Club night", "Music", "DJs and dancing until late.", 300, 360],
  ["Conference", "Business", "Talks and panels around a field of work.", 400, 960],
  ["Meetup", "Business", "An evening with talks and time to get to know each other.", 80, 150],
  ["Trade fair", "Business", "Exhibitors show what they make.", 2000, 480],
  ["Workshop", "Education", "Learning by doing in a small group.", 20, 180],
  ["Lecture", "Education", "One speaker, one subject, time for questions.", 150, 90],
  ["Course", "Education", "Lessons that build on each other.", 16, 90],
  ["Theatre performance", "Culture", "A play, an opera or a dance on a stage.", 250, 140],
  ["Exhibition opening", "Culture", "The first evening of an exhibition.", 120, 180],
  ["Film screening", "Culture", "A film and often somebody who made it.", 120, 150],
  ["Match", "Sports", "Two teams, one ball or none.", 1000, 120],
  ["Race", "Sports", "Running, cycling or skating against the clock.", 600, 300],
  ["Charity gala", "Community", "An evening for a good cause.", 200, 300],
  ["Guided tour", "Community", "A walk with somebody who knows the place.", 25, 120],
];

/** The event types that the platform offers; where one of the same name exists already, that one stays. */
export const catalogue: Step = {
  name: "0001-catalogue",
  async up(run) {
    for (const [name, category, description, capacity, minutes] of CATALOGUE) {
      await run(
        `INSERT INTO available_events
           (id, name, category, description, default_capacity, default_duration_minutes, created_at, updated_at)
         VALUES ($id, $name, $category, $description, $capacity, $minutes, now(), now())
         ON CONFLICT (lower(name)) DO NOTHING`,
        { id: newId(), name, category, description, capacity, minutes },
      );
    }
  },
  async down(run) {
    await run("DELETE FROM available_events WHERE name = ANY ($names)", {
      names: CATALOGUE.map(([name]) => name),
    });
  },
};
