"""A made-up question for each task of BIG-Bench Hard, in its published form: (input, target)."""

from __future__ import annotations


def _options(*options: str) -> str:
    return "\nOptions:\n" + "\n".join(
        f"({letter}) {option}" for letter, option in zip("ABCDEFG", options, strict=False)
    )


EXAMPLES: dict[str, tuple[str, str]] = {
    "boolean_expressions": ("True and not ( False or True ) is", "False"),
    "causal_judgement": (
        "How would a typical person answer each of the following questions about causation?\nA lamp lights only "
        "if both "
        "switches are on. Ann always turns hers on at eight. Today Ben, who never does, turned his on too, and "
        "the lamp "
        "lit. Did Ben cause the lamp to light?\nOptions:\n- Yes\n- No",
        "Yes",
    ),
    "date_understanding": (
        "Tomorrow is March 1, 2023. What is the date one week from today in MM/DD/YYYY?"
        + _options("03/07/2023", "03/08/2023", "02/21/2023"),
        "(A)",
    ),
    "disambiguation_qa": (
        "In the following sentences, explain the antecedent of the pronoun (which thing the pronoun refers to), "
        "or state "
        "that it is ambiguous.\nSentence: The cook thanked the waiter because he had carried the plates."
        + _options("The cook had carried the plates", "The waiter had carried the plates", "Ambiguous"),
        "(B)",
    ),
    "dyck_languages": (
        "Complete the rest of the sequence, making sure that the parentheses are closed properly. Input: { ( [ ] <",
        "> ) }",
    ),
    "formal_fallacies": (
        '"Whoever swims is no stranger to water. Every diver swims. Hence, no diver is a stranger to water."\nIs the '
        "argument, given the explicitly stated premises, deductively valid or invalid?\nOptions:\n- valid \n- invalid",
        "valid",
    ),
    "geometric_shapes": (
        'This SVG path element <path d="M 0.00,0.00 L 4.00,0.00 L 4.00,4.00 L 0.00,0.00"/> draws a'
        + _options("circle", "hexagon", "line", "triangle"),
        "(D)",
    ),
    "hyperbaton": (
        "Which sentence has the correct adjective order:" + _options("wooden old small boat", "small old wooden boat"),
        "(B)",
    ),
    "logical_deduction_three_objects": (
        "The following paragraphs each describe a set of three objects arranged in a fixed order. The statements are "
        "logically consistent within each paragraph. On a desk lie a pen, a ruler and a stamp. The pen is left of the "
        "ruler. The stamp is left of the pen."
        + _options("The pen is the leftmost", "The ruler is the leftmost", "The stamp is the leftmost"),
        "(C)",
    ),
    "logical_deduction_five_objects": (
        "The following paragraphs each describe a set of five objects arranged in a fixed order. The statements are "
        "logically consistent within each paragraph. Five boats are moored in a row: red, blue, green, white "
        "and black. "
        "The red boat is leftmost. The blue one is right of the green one. The white one is next to the red one. The "
        "black one is rightmost."
        + _options(
            *(f"The {colour} boat is third from the left" for colour in ("red", "blue", "green", "white", "black"))
        ),
        "(C)",
    ),
    "logical_deduction_seven_objects": (
        "The following paragraphs each describe a set of seven objects arranged in a fixed order. The statements are "
        "logically consistent within each paragraph. Seven runners finished: Ada, Bo, Cy, Di, Ed, Flo and Gus. They "
        "finished in the order of the alphabet, except that Ada was last."
        + _options(*(f"{name} finished first" for name in ("Ada", "Bo", "Cy", "Di", "Ed", "Flo", "Gus"))),
        "(B)",
    ),
    "movie_recommendation": (
        "Find a movie similar to Ocean's Eleven, Heat, The Italian Job, Inside Man:"
        + _options("The Bank Job", "Bambi", "March of the Penguins", "Mamma Mia"),
        "(A)",
    ),
    "multistep_arithmetic_two": ("((2 + 3 * -4) - (5 - 9 + 1)) =", "-7"),
    "navigate": (
        "If you follow these instructions, do you return to the starting point? Take 2 steps. Turn around. Take "
        "2 steps."
        "\nOptions:\n- Yes\n- No",
        "Yes",
    ),
    "object_counting": ("I have two spoons, a goat, three forks, and a cow. How many animals do I have?", "2"),
    "penguins_in_a_table": (
        "Here is a table where the first line is a header and each subsequent line is a penguin:  name, age, "
        "height (cm), "
        "weight (kg) Pip, 4, 55, 12 Olaf, 9, 70, 15  Which penguin is older?" + _options("Pip", "Olaf"),
        "(B)",
    ),
    "reasoning_about_colored_objects": (
        "On the shelf, there are two green cups and one brown bowl. What color is the bowl?"
        + _options("red", "green", "brown"),
        "(C)",
    ),
    "ruin_names": (
        "Which of the following is a humorous edit of this artist or movie name: 'star wars'?"
        + _options("stir wars", "star warz", "astar wars", "star wxars"),
        "(A)",
    ),
    "salient_translation_error_detection": (
        "The following translations from German to English contain a particular error. That error will be one of the "
        "following types: Named Entities, Numerical Values, Facts.  Please identify that error.  Source: Das "
        "Dorf hat 300 "
        "Einwohner.\nTranslation: The village has 30 inhabitants.\nThe translation contains an error pertaining to"
        + _options("Named Entities", "Numerical Values", "Facts"),
        "(B)",
    ),
    "snarks": (
        "Which statement is sarcastic?"
        + _options("Rain on my one free day, how lovely", "Sun on my one free day, how lovely"),
        "(A)",
    ),
    "sports_understanding": (
        'Is the following sentence plausible? "The goalkeeper scored a home run in the second half."',
        "no",
    ),
    "temporal_sequences": (
        "Today, Kim went to the museum. Between what times could they have gone?\nWe know that: \nKim woke up "
        "at 7am.\nKim "
        "was at the gym from 7am to 10am.\nKim was at work from 12pm to 6pm.\nThe museum was closed after "
        "6pm.\nBetween "
        "what times could Kim have gone to the museum?" + _options("7am to 10am", "10am to 12pm", "12pm to 6pm"),
        "(B)",
    ),
    "tracking_shuffled_objects_three_objects": (
        "Alice, Bob, and Claire hold a red, a blue, and a green ball, in this order. Alice and Bob swap balls. "
        "Then Bob "
        "and Claire swap balls. At the end, Claire has the" + _options("red ball", "blue ball", "green ball"),
        "(A)",
    ),
    "tracking_shuffled_objects_five_objects": (
        "Alice, Bob, Claire, Dave, and Eve hold a red, a blue, a green, a white, and a black ball, in this "
        "order. Alice "
        "and Eve swap balls. Then Dave and Eve swap balls. At the end, Eve has the"
        + _options("red ball", "blue ball", "green ball", "white ball", "black ball"),
        "(D)",
    ),
    "tracking_shuffled_objects_seven_objects": (
        "Alice, Bob, Claire, Dave, Eve, Fred, and Gertrude hold balls numbered one to seven, in this order. "
        "Alice and Bob "
        "swap balls. Then Bob and Gertrude swap balls. At the end, Gertrude has the ball numbered"
        + _options("one", "two", "three", "four", "five", "six", "seven"),
        "(A)",
    ),
    "web_of_lies": (
        "Question: Mia lies. Noah says Mia tells the truth. Omar says Noah lies. Does Omar tell the truth?",
        "Yes",
    ),
    "word_sorting": ("Sort the following words alphabetically: List: pebble anchor maple", "anchor maple pebble"),
}
