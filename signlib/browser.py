"""`browse`: a clip browser for a notebook: choose a gloss and a clip, see it, play it."""

from signlib import plots
from signlib.errors import InputError


def browse(clips, clip=""):
    """Shows a clip browser below the cell and returns its widgets by name: `gloss`, `clip` and `play`. clips: what
    `load_clips` gave; clip: the id of the clip to begin with, by default one in the middle of the list.

    What is known of a clip and its picture are ordinary outputs, so that they stay in a notebook that was run without a
    browser. The player takes seconds, so it is made when asked for. Raises InputError for an id that no usable clip has.
    """
    from IPython.display import HTML, Pretty, display
    from ipywidgets import Button, Dropdown, HBox

    first = clips.find(clip) if clip else clips[len(clips) // 2]
    of_gloss = {}
    for each in clips:
        of_gloss.setdefault(each.gloss, []).append(each.video_id)
    names = [(f"{gloss} ({len(ids)})", gloss) for gloss, ids in sorted(of_gloss.items())]
    gloss = Dropdown(options=names, value=first.gloss, description="gloss")
    chosen = Dropdown(options=of_gloss[first.gloss], value=first.video_id, description="clip")
    play = Button(description="play", icon="play", tooltip="make the player: a few seconds")

    def choose(_):
        chosen.options = of_gloss[gloss.value]  # chooses the first of them

    def draw(_):
        shown, player = clips.find(chosen.value), HTML("")  # what plays is never another clip than the one drawn
        try:
            picture = plots.skeleton(shown.read(), shown.layout)
            signer = "signer unknown" if shown.signer == -1 else f"signer {shown.signer}"
            facts = [shown.gloss, signer, *[shown.split] * bool(shown.split), f"{shown.num_frames} frames"]
        except InputError as error:  # an exception in a widget is seen by nobody
            picture, facts = HTML(""), [str(error)]
        text = Pretty(f"clip {shown.video_id}: {', '.join(facts)}")
        return text, picture, player

    def redraw(change):
        for output, content in zip(outputs, draw(change), strict=True):
            output.update(content)

    def animate(_):
        play.disabled, play.description = True, "making the player ..."
        try:
            shown = clips.find(chosen.value)
            outputs[2].update(plots.animate([("", shown.read(), shown.layout)]))
        except InputError as error:
            outputs[2].update(Pretty(str(error)))
        finally:
            play.disabled, play.description = False, "play"

    display(HBox([gloss, chosen, play]))
    outputs = [display(content, display_id=True) for content in draw(None)]
    gloss.observe(choose, "value")
    chosen.observe(redraw, "value")
    play.on_click(animate)
    return {"gloss": gloss, "clip": chosen, "play": play}
