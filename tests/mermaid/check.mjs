// Reads diagrams with the real Mermaid and says what it read.
//
// stdin: a JSON array of texts. stdout: a JSON array, for each of them what Mermaid found, in plain words, or
// { error } where it is no diagram. A text that parses is not enough: Mermaid takes much that it then draws as
// something else, so the tests compare what was meant with what was read.

import { text } from "node:stream/consumers";
import { JSDOM } from "jsdom";

const dom = new JSDOM("");
globalThis.window = dom.window;
globalThis.document = dom.window.document;
const { default: mermaid } = await import("mermaid");
mermaid.initialize({ startOnLoad: false, suppressErrorRendering: true });

// Mermaid keeps `#59;` as a mark of its own until it draws.
function shown(raw) {
    return (raw ?? "").replace(/ﬂ°(?:°(\d+)|(\w+))¶ß/g, (_, code, name) =>
        code ? String.fromCodePoint(Number(code)) : `&${name};`,
    );
}

function sequence(db) {
    const types = Object.fromEntries(Object.entries(db.LINETYPE).map(([name, number]) => [number, name]));
    return {
        participants: [...db.getActors().values()].map(({ name, description, type }) => ({
            id: name,
            label: shown(description),
            kind: type,
        })),
        events: db.getMessages().map(({ from, to, message, type }) => ({
            what: types[type] ?? String(type),
            from: from ?? "",
            to: to ?? "",
            text: shown(typeof message === "string" ? message : ""),
        })),
    };
}

function classes(db) {
    return {
        classes: [...db.getClasses().values()].map(({ id, label, annotations, members, methods }) => ({
            id,
            label: shown(label),
            stereotypes: annotations.map(shown),
            members: [...members, ...methods].map((member) => shown(member.getDisplayDetails().displayText)),
        })),
        relations: db.getRelations().map(({ id1, id2, title }) => ({ from: id1, to: id2, text: shown(title) })),
        direction: db.getDirection(),
    };
}

const answers = [];
for (const diagram of JSON.parse(await text(process.stdin))) {
    try {
        const { diagramType } = await mermaid.parse(diagram);
        const { db } = await mermaid.mermaidAPI.getDiagramFromText(diagram);
        const read = diagramType === "sequence" ? sequence(db) : diagramType === "classDiagram" ? classes(db) : {};
        answers.push({ type: diagramType, ...read });
    } catch (error) {
        answers.push({ error: String(error?.message ?? error) });
    }
}
process.stdout.write(JSON.stringify(answers));
