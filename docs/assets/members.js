// Pages of the API are long, so the members of a class are folded below its description. A link to one unfolds it.
function unfold() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let parent = target?.parentElement; parent; parent = parent.parentElement)
    if (parent.tagName === "DETAILS") parent.open = true;
  target?.scrollIntoView();
}

for (const members of document.querySelectorAll(".doc-class > .doc-contents > .doc-children")) {
  const count = members.querySelectorAll(":scope > .doc-object").length;
  if (count === 0) continue;
  const details = document.createElement("details");
  details.className = "members";
  details.innerHTML = `<summary>${count} member${count > 1 ? "s" : ""}</summary>`;
  members.replaceWith(details);
  details.append(members);
}
addEventListener("hashchange", unfold);
unfold();
