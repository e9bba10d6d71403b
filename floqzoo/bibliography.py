"""The papers and programs that the parts of floqzoo are based on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reference:
    """An entry of the bibliography; `bibtex` omits fields that are None.

    - `key`: The citation key.
    - `kind`: The BibTeX entry type.
    - `title`, `author`, `year`: The BibTeX fields of the same names.
    - `venue`: The conference or journal.
    - `arxiv`: The arXiv identifier of the preprint.
    - `url`: The URL of a work without an arXiv preprint.
    """

    key: str
    kind: str
    title: str
    author: str
    year: int
    venue: str | None = None
    arxiv: str | None = None
    url: str | None = None

    def bibtex(self) -> str:
        """Formats the entry as BibTeX."""
        venue = {"inproceedings": "booktitle", "phdthesis": "school"}.get(self.kind, "journal")
        fields = {"title": f"{{{self.title}}}", "author": self.author, "year": str(self.year)}
        fields |= {venue: self.venue} if self.venue else {}
        fields |= {"eprint": self.arxiv, "archivePrefix": "arXiv"} if self.arxiv else {}
        fields |= {"url": self.url} if self.url else {}
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
        return "\n".join([f"@{self.kind}{{{self.key},", *lines, "}"])


FLOQ = Reference(
    "agrawalla2025floq",
    "inproceedings",
    "floq: Training Critics via Flow-Matching for Scaling Compute in Value-Based RL",
    "Agrawalla, Bhavya and Nauman, Michal and Agrawal, Khush and Kumar, Aviral",
    2026,
    "International Conference on Learning Representations",
    "2509.06863",
)
FLOW_MATCHING_IN_TD = Reference(
    "agrawalla2026what",
    "inproceedings",
    "What Does Flow Matching Bring To TD Learning?",
    "Agrawalla, Bhavya and Nauman, Michal and Kumar, Aviral",
    2026,
    "International Conference on Machine Learning",
    "2603.04333",
)
FQL = Reference(
    "park2025flow",
    "inproceedings",
    "Flow Q-Learning",
    "Park, Seohong and Li, Qiyang and Levine, Sergey",
    2025,
    "International Conference on Machine Learning",
    "2502.02538",
)
TD_FLOW = Reference(
    "farebrother2025temporal",
    "inproceedings",
    "Temporal Difference Flows",
    "Farebrother, Jesse and Pirotta, Matteo and Tirinzoni, Andrea and Munos, R{\\'e}mi and Lazaric, Alessandro and "
    "Touati, Ahmed",
    2025,
    "International Conference on Machine Learning",
    "2503.09817",
)
VALUE_FLOWS = Reference(
    "dong2025value",
    "inproceedings",
    "Value Flows",
    "Dong, Perry and Zheng, Chongyi and Finn, Chelsea and Sadigh, Dorsa and Eysenbach, Benjamin",
    2026,
    "International Conference on Learning Representations",
    "2510.07650",
)
EVOR = Reference(
    "espinosadice2025expressive",
    "misc",
    "Expressive Value Learning for Scalable Offline Reinforcement Learning",
    "Espinosa-Dice, Nicolas and Brantley, Kiant{\\'e} and Sun, Wen",
    2025,
    arxiv="2510.08218",
)
FLOW_MATCHING = Reference(
    "lipman2023flow",
    "inproceedings",
    "Flow Matching for Generative Modeling",
    "Lipman, Yaron and Chen, Ricky T. Q. and Ben-Hamu, Heli and Nickel, Maximilian and Le, Matt",
    2023,
    "International Conference on Learning Representations",
    "2210.02747",
)
RECTIFIED_FLOW = Reference(
    "liu2023flow",
    "inproceedings",
    "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow",
    "Liu, Xingchao and Gong, Chengyue and Liu, Qiang",
    2023,
    "International Conference on Learning Representations",
    "2209.03003",
)
STOCHASTIC_INTERPOLANTS = Reference(
    "albergo2023stochastic",
    "misc",
    "Stochastic Interpolants: A Unifying Framework for Flows and Diffusions",
    "Albergo, Michael S. and Boffi, Nicholas M. and Vanden-Eijnden, Eric",
    2023,
    arxiv="2303.08797",
)
SCORE_SDE = Reference(
    "song2021score",
    "inproceedings",
    "Score-Based Generative Modeling through Stochastic Differential Equations",
    "Song, Yang and Sohl-Dickstein, Jascha and Kingma, Diederik P. and Kumar, Abhishek and Ermon, Stefano and "
    "Poole, Ben",
    2021,
    "International Conference on Learning Representations",
    "2011.13456",
)
DDPM = Reference(
    "ho2020denoising",
    "inproceedings",
    "Denoising Diffusion Probabilistic Models",
    "Ho, Jonathan and Jain, Ajay and Abbeel, Pieter",
    2020,
    "Advances in Neural Information Processing Systems",
    "2006.11239",
)
DDIM_PAPER = Reference(
    "song2021denoising",
    "inproceedings",
    "Denoising Diffusion Implicit Models",
    "Song, Jiaming and Meng, Chenlin and Ermon, Stefano",
    2021,
    "International Conference on Learning Representations",
    "2010.02502",
)
NEURAL_ODES = Reference(
    "chen2018neural",
    "inproceedings",
    "Neural Ordinary Differential Equations",
    "Chen, Ricky T. Q. and Rubanova, Yulia and Bettencourt, Jesse and Duvenaud, David",
    2018,
    "Advances in Neural Information Processing Systems",
    "1806.07366",
)
FFJORD = Reference(
    "grathwohl2019ffjord",
    "inproceedings",
    "FFJORD: Free-form Continuous Dynamics for Scalable Reversible Generative Models",
    "Grathwohl, Will and Chen, Ricky T. Q. and Bettencourt, Jesse and Sutskever, Ilya and Duvenaud, David",
    2019,
    "International Conference on Learning Representations",
    "1810.01367",
)
HL_GAUSS = Reference(
    "farebrother2024stop",
    "misc",
    "Stop Regressing: Training Value Functions via Classification for Scalable Deep RL",
    'Farebrother, Jesse and Orbay, Jordi and Vuong, Quan and Ta{\\"i}ga, Adrien Ali and Chebotar, Yevgen and '
    "Xiao, Ted and Irpan, Alex and Levine, Sergey and Castro, Pablo Samuel and Faust, Aleksandra and Kumar, Aviral and "
    "Agarwal, Rishabh",
    2024,
    arxiv="2403.03950",
)
TD3 = Reference(
    "fujimoto2018addressing",
    "inproceedings",
    "Addressing Function Approximation Error in Actor-Critic Methods",
    "Fujimoto, Scott and van Hoof, Herke and Meger, David",
    2018,
    "International Conference on Machine Learning",
    "1802.09477",
)
TD3_BC = Reference(
    "fujimoto2021minimalist",
    "inproceedings",
    "A Minimalist Approach to Offline Reinforcement Learning",
    "Fujimoto, Scott and Gu, Shixiang Shane",
    2021,
    "Advances in Neural Information Processing Systems",
    "2106.06860",
)
REBRAC = Reference(
    "tarasov2023revisiting",
    "inproceedings",
    "Revisiting the Minimalist Approach to Offline Reinforcement Learning",
    "Tarasov, Denis and Kurenkov, Vladislav and Nikulin, Alexander and Kolesnikov, Sergey",
    2023,
    "Advances in Neural Information Processing Systems",
    "2305.09836",
)
SAC = Reference(
    "haarnoja2018soft",
    "misc",
    "Soft Actor-Critic Algorithms and Applications",
    "Haarnoja, Tuomas and Zhou, Aurick and Hartikainen, Kristian and Tucker, George and Ha, Sehoon and Tan, Jie and "
    "Kumar, Vikash and Zhu, Henry and Gupta, Abhishek and Abbeel, Pieter and Levine, Sergey",
    2018,
    arxiv="1812.05905",
)
RLPD = Reference(
    "ball2023efficient",
    "inproceedings",
    "Efficient Online Reinforcement Learning with Offline Data",
    "Ball, Philip J. and Smith, Laura and Kostrikov, Ilya and Levine, Sergey",
    2023,
    "International Conference on Machine Learning",
    "2302.02948",
)
SHORTCUT_MODELS = Reference(
    "frans2025one",
    "inproceedings",
    "One Step Diffusion via Shortcut Models",
    "Frans, Kevin and Hafner, Danijar and Levine, Sergey and Abbeel, Pieter",
    2025,
    "International Conference on Learning Representations",
    "2410.12557",
)
SORL = Reference(
    "espinosadice2025scaling",
    "inproceedings",
    "Scaling Offline RL via Efficient and Expressive Shortcut Models",
    "Espinosa-Dice, Nicolas and Zhang, Yiyi and Chen, Yiding and Guo, Bradley and Oertell, Owen and Swamy, Gokul and "
    "Brantley, Kiant{\\'e} and Sun, Wen",
    2025,
    "Advances in Neural Information Processing Systems",
    "2505.22866",
)
C51 = Reference(
    "bellemare2017distributional",
    "inproceedings",
    "A Distributional Perspective on Reinforcement Learning",
    "Bellemare, Marc G. and Dabney, Will and Munos, R{\\'e}mi",
    2017,
    "International Conference on Machine Learning",
    "1707.06887",
)
QR_DQN = Reference(
    "dabney2018distributional",
    "inproceedings",
    "Distributional Reinforcement Learning with Quantile Regression",
    "Dabney, Will and Rowland, Mark and Bellemare, Marc G. and Munos, R{\\'e}mi",
    2018,
    "AAAI Conference on Artificial Intelligence",
    "1710.10044",
)
IQN = Reference(
    "dabney2018implicit",
    "inproceedings",
    "Implicit Quantile Networks for Distributional Reinforcement Learning",
    "Dabney, Will and Ostrovski, Georg and Silver, David and Munos, R{\\'e}mi",
    2018,
    "International Conference on Machine Learning",
    "1806.06923",
)
CODAC = Reference(
    "ma2021conservative",
    "inproceedings",
    "Conservative Offline Distributional Reinforcement Learning",
    "Ma, Yecheng Jason and Jayaraman, Dinesh and Bastani, Osbert",
    2021,
    "Advances in Neural Information Processing Systems",
    "2107.06106",
)
AWR = Reference(
    "peng2019advantage",
    "misc",
    "Advantage-Weighted Regression: Simple and Scalable Off-Policy Reinforcement Learning",
    "Peng, Xue Bin and Kumar, Aviral and Zhang, Grace and Levine, Sergey",
    2019,
    arxiv="1910.00177",
)
IQL = Reference(
    "kostrikov2022offline",
    "inproceedings",
    "Offline Reinforcement Learning with Implicit Q-Learning",
    "Kostrikov, Ilya and Nair, Ashvin and Levine, Sergey",
    2022,
    "International Conference on Learning Representations",
    "2110.06169",
)
IDQL = Reference(
    "hansenestruch2023idql",
    "misc",
    "IDQL: Implicit Q-Learning as an Actor-Critic Method with Diffusion Policies",
    "Hansen-Estruch, Philippe and Kostrikov, Ilya and Janner, Michael and Kuba, Jakub Grudzien and Levine, Sergey",
    2023,
    arxiv="2304.10573",
)
QC = Reference(
    "li2025reinforcement",
    "inproceedings",
    "Reinforcement Learning with Action Chunking",
    "Li, Qiyang and Zhou, Zhiyuan and Levine, Sergey",
    2025,
    "Advances in Neural Information Processing Systems",
    "2507.07969",
)
IMPALA = Reference(
    "espeholt2018impala",
    "inproceedings",
    "IMPALA: Scalable Distributed Deep-RL with Importance Weighted Actor-Learner Architectures",
    "Espeholt, Lasse and Soyer, Hubert and Munos, Remi and others",
    2018,
    "International Conference on Machine Learning",
    "1802.01561",
)
FILM = Reference(
    "perez2018film",
    "inproceedings",
    "FiLM: Visual Reasoning with a General Conditioning Layer",
    "Perez, Ethan and Strub, Florian and de Vries, Harm and Dumoulin, Vincent and Courville, Aaron",
    2018,
    "AAAI Conference on Artificial Intelligence",
    "1709.07871",
)
SUCCESSOR_FEATURES = Reference(
    "barreto2017successor",
    "inproceedings",
    "Successor Features for Transfer in Reinforcement Learning",
    "Barreto, Andr{\\'e} and Dabney, Will and Munos, R{\\'e}mi and Hunt, Jonathan J. and Schaul, Tom and "
    "van Hasselt, Hado and Silver, David",
    2017,
    "Advances in Neural Information Processing Systems",
    "1606.05312",
)
GEOMETRIC_GPI = Reference(
    "thakoor2022generalised",
    "inproceedings",
    "Generalised Policy Improvement with Geometric Policy Composition",
    "Thakoor, Shantanu and Rowland, Mark and Borsa, Diana and Dabney, Will and Munos, R{\\'e}mi and "
    "Barreto, Andr{\\'e}",
    2022,
    "International Conference on Machine Learning",
    "2206.08736",
)
FB = Reference(
    "touati2021learning",
    "inproceedings",
    "Learning One Representation to Optimize All Rewards",
    "Touati, Ahmed and Ollivier, Yann",
    2021,
    "Advances in Neural Information Processing Systems",
    "2103.07945",
)
INFOM = Reference(
    "zheng2026intention",
    "inproceedings",
    "Intention-Conditioned Flow Occupancy Models",
    "Zheng, Chongyi and Park, Seohong and Levine, Sergey and Eysenbach, Benjamin",
    2026,
    "International Conference on Learning Representations",
    "2506.08902",
)
ZERO_SHOT = Reference(
    "touati2023does",
    "inproceedings",
    "Does Zero-Shot Reinforcement Learning Exist?",
    "Touati, Ahmed and Rapin, J{\\'e}r{\\'e}my and Ollivier, Yann",
    2023,
    "International Conference on Learning Representations",
    "2209.14935",
)
OGBENCH = Reference(
    "park2025ogbench",
    "inproceedings",
    "OGBench: Benchmarking Offline Goal-Conditioned RL",
    "Park, Seohong and Frans, Kevin and Eysenbach, Benjamin and Levine, Sergey",
    2025,
    "International Conference on Learning Representations",
    "2410.20092",
)
JAX = Reference(
    "jax2018github",
    "software",
    "JAX: composable transformations of Python+NumPy programs",
    "Bradbury, James and Frostig, Roy and Hawkins, Peter and Johnson, Matthew James and Katariya, Yash and "
    "Leary, Chris and Maclaurin, Dougal and Necula, George and Paszke, Adam and VanderPlas, Jake and "
    "Wanderman-Milne, Skye and Zhang, Qiao",
    2018,
    url="https://github.com/jax-ml/jax",
)
EQUINOX = Reference(
    "kidger2021equinox",
    "article",
    "Equinox: neural networks in JAX via callable PyTrees and filtered transformations",
    "Kidger, Patrick and Garcia, Cristian",
    2021,
    "Differentiable Programming workshop at Neural Information Processing Systems",
)
DIFFRAX = Reference(
    "kidger2021on",
    "phdthesis",
    "On Neural Differential Equations",
    "Kidger, Patrick",
    2021,
    "University of Oxford",
)
OPTAX = Reference(
    "deepmind2020jax",
    "software",
    "The DeepMind JAX Ecosystem",
    "{DeepMind} and Babuschkin, Igor and others",
    2020,
    url="https://github.com/google-deepmind",
)
